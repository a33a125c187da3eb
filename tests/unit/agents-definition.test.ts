/** Definitions in the users' format: what is accepted, and where each mistake is reported. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type AgentDefinition, parseDefinition } from "../../agents/definition.ts";
import { DefinitionInvalidError, type Problem } from "../../agents/errors.ts";
import { MAX_DEFINITION_BYTES, MAX_PROBLEMS } from "../../agents/positions.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Broker } from "../../runtime/port.ts";

/** Facts need no broker. */
const skills = new SkillRegistry(builtInSkills, { broker: {} as Broker, names: makeNames() }).facts;

/** The example of spec 000 §6.1, word for word. */
const QA_MANAGER = `# agent-qa-manager-v2.1.0.yaml
metadata:
  id: qa-manager
  name: QA Manager
  version: 2.1.0
  author: team-qa
  description: Continuous quality validation across all userinterfaces

goal:
  type: continuous  # or "on-demand"
  description: Maintain quality across all userinterfaces

triggers:
  events:
    - type: alert.blackscreen
      priority: critical
    - type: build.deployed
      priority: high
    - type: schedule.regression
      cron: "0 */6 * * *"
  event_pools:
    - shared.alerts
    - shared.builds
    - own.qa-tasks

subagents:
  - id: explorer
    version: ">=1.0.0"
    delegate_for: [ui_discovery, tree_building]
  - id: executor
    version: ">=1.0.0"
    delegate_for: [test_execution]
  - id: analyst
    version: ">=1.0.0"
    delegate_for: [result_analysis, bug_triage]

skills:
  - list_testcases
  - list_userinterfaces
  - get_coverage_summary
  - take_control
  - execute_testcase

permissions:
  devices: [read, take_control]
  database: [read, write.testcases, write.results]
  external: [jira, slack]

config:
  max_parallel_tasks: 3
  approval_required_for: [create_jira_ticket, delete_testcase]
  auto_retry: true
  feedback_collection: true
`;

const LAB_WATCHER = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");

/** A small valid definition with places to break. */
const SMALL = `metadata:
  id: watcher
  name: Watcher
  version: 1.0.0
goal: { type: continuous, description: Watch }
triggers:
  events:
    - type: alert.freeze
  event_pools: [shared.alerts]
skills: [press_key, analyse_frame, wait]
permissions: { devices: [take_control] }
playbook:
  - on: alert.freeze
    steps:
      - id: first
        skill: press_key
        with: { key: HOME }
      - id: second
        skill: analyse_frame
`;

function problemsOf(source: string): readonly Problem[] {
  try {
    parseDefinition(source, { skills });
  } catch (error) {
    if (error instanceof DefinitionInvalidError) return error.problems;
    throw error;
  }
  return [];
}

/** `line:column path message | hint`, one a problem. */
const shown = (source: string): string[] =>
  problemsOf(source).map((p) => `${p.line}:${p.column} ${p.path} ${p.message} | ${p.hint}`);

describe("parseDefinition()", () => {
  test("parseDefinition() takes the example of the users' format and fills the defaults", () => {
    const definition = parseDefinition(QA_MANAGER, { skills });
    expect(definition.metadata).toEqual({
      id: "qa-manager",
      name: "QA Manager",
      version: "2.1.0",
      author: "team-qa",
      description: "Continuous quality validation across all userinterfaces",
    });
    expect(definition.triggers.events[2]).toEqual({ type: "schedule.regression", cron: "0 */6 * * *" });
    expect(definition.config.timeout_seconds).toBe(3_600);
    expect(definition.playbook).toEqual([]);
  });

  test("parseDefinition() takes the catalogue's agent, also as JSON", () => {
    const definition: AgentDefinition = parseDefinition(LAB_WATCHER, { skills });
    expect(definition.playbook.map((playbook) => playbook.steps.map((step) => step.id))).toEqual([
      ["before", "wake", "settle", "verify"],
      ["before", "wake", "settle", "verify"],
    ]);
    for (const indent of [0, 2, "\t"]) {
      expect(parseDefinition(JSON.stringify(definition, null, indent), { skills })).toEqual(definition);
    }
  });

  test("parseDefinition() has nothing to say about the small definition", () => {
    expect(shown(SMALL)).toEqual([]);
  });

  const broken: readonly [name: string, from: string, to: string, problems: string[]][] = [
    [
      "a key is misspelt",
      "permissions:",
      "permisions:",
      [
        '11:1 permisions The definition has no key "permisions" | Did you mean "permissions"?',
        '13:5 playbook[0] The playbook locks the event\'s device without the permission to | Add "devices: [take_control]" to permissions, or "device: none" here',
      ],
    ],
    [
      "a required key is missing",
      "  name: Watcher\n",
      "",
      ['2:3 metadata.name The metadata has no "name" | Add "name:"'],
    ],
    [
      "a version is a number",
      "version: 1.0.0",
      "version: 1.0",
      ['4:12 metadata.version The version "1" is not valid | Write three numbers, like "1.0.0"'],
    ],
    [
      "a version has a v",
      "version: 1.0.0",
      "version: v1.2",
      ['4:12 metadata.version The version "v1.2" is not valid | Write three numbers, like "1.2.0"'],
    ],
    [
      "an id would widen a subject",
      "id: watcher",
      'id: "a.>"',
      ['2:7 metadata.id The agent\'s id "a.>" is not valid | Use 1 to 64 of A-Z a-z 0-9 _ -, a letter first'],
    ],
    [
      "a goal is of another type",
      "type: continuous",
      "type: continous",
      ['5:15 goal.type The goal\'s type is "continous", not one of continuous, on-demand | Did you mean "continuous"?'],
    ],
    [
      "a key stands twice",
      "  name: Watcher\n",
      "  name: Watcher\n  name: Other\n",
      ['4:3 metadata.name The key "name" stands twice in this mapping | Keep one; the first is on line 3'],
    ],
    [
      "a skill is not listed",
      "skill: press_key",
      "skill: press_keys",
      ['16:16 playbook[0].steps[0].skill The skill "press_keys" is not listed in skills | Did you mean "press_key"?'],
    ],
    [
      "a playbook has no trigger",
      "  - on: alert.freeze",
      "  - on: alert.freze",
      ['13:9 playbook[0].on No trigger fires for "alert.freze" | Did you mean "alert.freeze"?'],
    ],
    [
      "two steps have one id",
      "id: second",
      "id: first",
      ['18:13 playbook[0].steps[1].id The step "first" stands twice | Keep one; the first is number 1 of the list'],
    ],
    [
      "a skill lacks an argument",
      "with: { key: HOME }",
      "with: { kee: HOME }",
      [
        '17:9 playbook[0].steps[0].with.key The skill "press_key" needs the argument "key" | Add "with: { key: … }"',
        '17:22 playbook[0].steps[0].with.kee The skill "press_key" has no argument "kee" | Did you mean "key"?',
      ],
    ],
    [
      "a template names a later step",
      "{ key: HOME }",
      '{ key: "${steps.second.output.key}" }',
      [
        '17:22 playbook[0].steps[0].with.key The template "${steps.second.output.key}" refers to "second", which is no earlier step | Move that step before this one',
      ],
    ],
    [
      "a template is unfinished",
      "{ key: HOME }",
      '{ key: "${event.data" }',
      [
        '17:22 playbook[0].steps[0].with.key The template "${event.data" is not valid | Write "${event.data.<field>}" or "${steps.<id>.output.<field>}", or "$${" for a plain "${"',
      ],
    ],
    [
      "a template names no field of the event",
      "{ key: HOME }",
      '{ key: "${event.dta.x}" }',
      [
        '17:22 playbook[0].steps[0].with.key The template "${event.dta.x}" names no field of event | Fields of event: id, source, type, timeMs, priority, data, device',
      ],
    ],
    [
      "the right to lock is missing",
      "devices: [take_control]",
      "devices: [read]",
      [
        '13:5 playbook[0] The playbook locks the event\'s device without the permission to | Add "devices: [take_control]" to permissions, or "device: none" here',
      ],
    ],
    [
      "a skill needs a device and the playbook takes none",
      "  - on: alert.freeze\n",
      "  - on: alert.freeze\n    device: none\n",
      [
        '17:16 playbook[0].steps[0].skill The skill "press_key" needs a device, and the playbook takes none | Write "device: event" in the playbook',
        '20:16 playbook[0].steps[1].skill The skill "analyse_frame" needs a device, and the playbook takes none | Write "device: event" in the playbook',
      ],
    ],
    [
      "a duration has no unit",
      "        skill: analyse_frame\n",
      "        skill: analyse_frame\n        timeout: 20\n",
      ["20:18 playbook[0].steps[1].timeout The timeout is 20, not a duration | Name the unit: 20s or 20ms"],
    ],
    [
      "a lock's time is too short",
      "    steps:",
      "    lock_ttl: 500ms\n    steps:",
      ['14:15 playbook[0].lock_ttl The lock\'s time to live is "500ms", out of its limits | Give 5s to 10m'],
    ],
    [
      "no pool is followed",
      "  event_pools: [shared.alerts]\n",
      "",
      [
        '6:1 triggers.event_pools The agent follows no pool, so none of its triggers can fire | Name the pools, like "- shared.alerts"',
      ],
    ],
    ["a skill exists nowhere", "wait]", "zap_check]\nsubagents: []", []],
    [
      "an approval would be needed",
      "playbook:",
      "config: { approval_required_for: [press_key] }\nplaybook:",
      [
        '17:16 playbook[0].steps[0].skill The skill "press_key" needs an approval, and a playbook cannot ask for one | Take it out of the steps, or out of config.approval_required_for',
      ],
    ],
  ];

  test.each(broken)("parseDefinition() names line and column when %s", (_name, from, to, problems) => {
    expect(SMALL).toContain(from);
    expect(shown(SMALL.replace(from, to))).toEqual(problems);
  });

  test("parseDefinition() reports every problem at once, in the order of the text", () => {
    const source = SMALL.replace("1.0.0", '"1"')
      .replace("press_key,", "press_key, press_key,")
      .replace("[shared.alerts]", "[alerts]")
      .replace("HOME }", "HOME }\n        retries: -1");
    expect(problemsOf(source).map((problem) => [problem.line, problem.path])).toEqual([
      [4, "metadata.version"],
      [9, "triggers.event_pools[0]"],
      [10, "skills[1].id"],
      [18, "playbook[0].steps[0].retries"],
    ]);
  });

  test("parseDefinition() says of a used skill without code that NATS can serve it", () => {
    const source = SMALL.replace("wait]", "zap]").replace("skill: analyse_frame", "skill: zap");
    expect(shown(source)[0]).toContain('19:16 playbook[0].steps[1].skill There is no skill "zap"');
    expect(shown(source)[0]).toContain('declare "{ id: zap, nats: <name> }" in skills');
    expect(shown(source.replace("zap]", "{ id: zap, nats: zap-checker }]"))).toEqual([]);
  });

  const syntax: readonly [string, string, string][] = [
    ["a quote is open", 'metadata:\n  id: "a', "2:9"],
    ["a bracket is open", "metadata: [a", "1:13"],
    ["a tab indents", "metadata:\n\tid: a", "2:1"],
    ["JSON is cut", '{"metadata": {"id": "a"', "1:24"],
    ["there are two documents", "a: 1\n---\nb: 1\n", "2:1"],
    ["it is empty", "", "1:1"],
    ["it is only a comment", "# nothing\n", "1:1"],
    ["an alias has no anchor", "metadata: *nobody\n", "1:11"],
    ["a tag is unknown", "metadata: !secret x\n", "1:11"],
  ];

  test.each(syntax)("parseDefinition() names the place when %s", (_name, source, place) => {
    expect(problemsOf(source).map((problem) => `${problem.line}:${problem.column}`)).toContain(place);
  });

  test("parseDefinition() refuses an alias bomb without expanding it", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array.from({ length: 9 }, () => `*l${i}`).join(", ")}]`,
    );
    expect(shown(`l0: &l0 lol\n${levels.join("\n")}\n`)[0]).toMatch(/^1:1 \$ The aliases expand to more than/);
  });

  test("parseDefinition() refuses aliases that only nest deeply, and those inside their own anchor", () => {
    const chain = Array.from({ length: 200 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}]`);
    expect(shown(`a0: &a0 x\n${chain.join("\n")}\n`)[0]).toMatch(/levels/);
    expect(shown("metadata: &a { id: *a }\n").join()).toMatch(/names no anchor before it/);
  });

  test("parseDefinition() refuses deep nesting, large texts and keys that touch prototypes", () => {
    expect(shown(`a: ${"[".repeat(100)}${"]".repeat(100)}`).join()).toMatch(/nested deeper/);
    expect(shown("[".repeat(30_000)).length).toBeLessThanOrEqual(MAX_PROBLEMS);
    expect(shown(`# ${"x".repeat(MAX_DEFINITION_BYTES)}`)[0]).toMatch(
      /^1:1 \$ The definition has \d+ bytes, more than 65536/,
    );
    expect(shown(SMALL.replace("{ key: HOME }", '{ key: HOME, "__proto__": { x: 1 } }')).join()).toMatch(
      /"__proto__" cannot be used/,
    );
  });

  test("DefinitionInvalidError shows every problem in its message", () => {
    expect(() => parseDefinition(SMALL.replace("1.0.0", "1.0"))).toThrow(
      'The agent definition has a problem:\n  4:12 metadata.version: The version "1" is not valid. Write three numbers, like "1.0.0"',
    );
  });
});
