/** From a definition to a plan, and the small pure parts around it. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentPlan } from "../../actors/messages/agent.ts";
import type { LabEvent } from "../../actors/messages/event.ts";
import { parseDefinition } from "../../agents/definition.ts";
import { formatDuration, parseDuration } from "../../agents/duration.ts";
import { passesFilters, playbookFor, triggerFor } from "../../agents/filter.ts";
import { judgeFrame } from "../../agents/frame.ts";
import { nearest } from "../../agents/nearest.ts";
import { planOf } from "../../agents/plan.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { compareVersions, fitsRange, isVersionRange, parseVersion } from "../../actors/version.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Broker } from "../../runtime/port.ts";

const skills = new SkillRegistry(builtInSkills, { broker: {} as Broker, names: makeNames() }).facts;
const LAB_WATCHER = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");

describe("planOf()", () => {
  test("planOf() compiles the catalogue's agent", () => {
    const plan = planOf(parseDefinition(LAB_WATCHER, { skills }), skills);
    const steps = [
      { id: "before", skill: "capture_screenshot", with: {}, timeoutMs: 20_000, retries: 1, needsDevice: true },
      { id: "wake", skill: "press_key", with: { key: "HOME" }, timeoutMs: 20_000, retries: 2, needsDevice: true },
      { id: "settle", skill: "wait", with: { ms: 500 }, timeoutMs: 30_000, retries: 1, needsDevice: false },
      { id: "verify", skill: "analyse_frame", with: {}, timeoutMs: 20_000, retries: 2, needsDevice: true },
    ];
    expect(plan).toEqual({
      id: "lab-watcher",
      version: "1.0.0",
      name: "Lab Watcher",
      goal: { type: "continuous", description: "Every device of the lab shows a live picture" },
      triggers: [
        { type: "alert.blackscreen", priority: "critical", filters: { status: { not: "resolved" } } },
        { type: "alert.freeze", priority: "high", filters: { status: { not: "resolved" } } },
      ],
      pools: ["shared.alerts"],
      maxParallelTasks: 8,
      taskTimeoutMs: 600_000,
      playbooks: [
        { on: "alert.blackscreen", device: "event", steps, lockTtlMs: 30_000 },
        { on: "alert.freeze", device: "event", steps, lockTtlMs: 30_000 },
      ],
    });
  });

  test('planOf() names NATS skills, takes no device for "none" and does not retry when told so', () => {
    const source = `
metadata: { id: zapper, name: Zapper, version: 0.1.0-beta.2 }
goal: { type: on-demand, description: Zap }
triggers: { events: [{ type: zap.* }], event_pools: [shared.results] }
skills: [{ id: check, nats: zap-checker, needs_device: false }, { id: tune, nats: tuner, needs_device: true }]
permissions: { devices: [take_control] }
config: { auto_retry: false }
playbook:
  - { on: zap.done, device: none, steps: [{ id: a, skill: check }] }
  - { on: zap.failed, steps: [{ id: a, skill: tune, retries: 3, timeout: 1h }] }
`;
    expect(planOf(parseDefinition(source, { skills }), skills).playbooks).toEqual([
      {
        on: "zap.done",
        device: null,
        lockTtlMs: 30_000,
        steps: [{ id: "a", skill: "nats:zap-checker", with: {}, timeoutMs: 30_000, retries: 0, needsDevice: false }],
      },
      {
        on: "zap.failed",
        device: "event",
        lockTtlMs: 30_000,
        steps: [{ id: "a", skill: "nats:tuner", with: {}, timeoutMs: 3_600_000, retries: 3, needsDevice: true }],
      },
    ]);
  });

  const agentWith = (skillsText: string, steps: string) => `
metadata: { id: keeper, name: Keeper, version: 1.0.0 }
goal: { type: on-demand, description: Keep }
triggers: { events: [{ type: tree.changed }], event_pools: [shared.results] }
skills: [${skillsText}]
permissions: { devices: [take_control] }
playbook: [{ on: tree.changed, steps: [${steps}] }]
`;
  const [read, write, drive] = [
    "{ id: read, nats: reader, needs_device: true, locks: none }",
    "{ id: write, nats: writer, locks: tree }",
    "{ id: drive, nats: driver, needs_device: true }",
  ];

  test.each([
    ["only reads", read, "{ id: a, skill: read }", "none"],
    ["changes a tree", `${read}, ${write}`, "{ id: a, skill: read }, { id: b, skill: write }", "tree"],
    ["drives", `${read}, ${drive}`, "{ id: a, skill: read }, { id: b, skill: drive }", undefined],
  ])("planOf() locks what a playbook needs that %s", (_, declared, steps, locks) => {
    const [playbook] = planOf(parseDefinition(agentWith(declared, steps), { skills }), skills).playbooks;
    expect(playbook?.locks).toBe(locks);
  });

  test.each([
    ["none", "succeeded"],
    [undefined, "failed"],
  ] as const)("runSkill() asks a skill that locks %s for no token: it %s", async (locks, status) => {
    const look = {
      id: "look",
      description: "Looks",
      needsDevice: true,
      run: async () => ({ status: "succeeded" }) as const,
    };
    const registry = new SkillRegistry([locks === undefined ? look : { ...look, locks }], {
      broker: {} as Broker,
      names: makeNames(),
    });
    const call = {
      skill: "look",
      args: {},
      device: { host: "h", device: "d" },
      token: null,
      fence: null,
      task: "t",
      step: "s",
    };
    const key = { attempt: 1, invocationId: "t/s/1", deadlineAtMs: Number.POSITIVE_INFINITY };
    expect(await registry.runSkill({ ...call, ...key }, new AbortController().signal)).toMatchObject({ status });
  });

  test("parseDefinition() refuses a playbook that would lock two things", () => {
    const both = agentWith(`${write}, ${drive}`, "{ id: a, skill: write }, { id: b, skill: drive }");
    expect(() => parseDefinition(both, { skills })).toThrow(/tree and device for themselves/);
  });
});

describe("passesFilters()", () => {
  const data = { severity: "high", count: 3, checked: false, end_time: null, metadata: { freeze: true, tags: ["a"] } };
  const rows: readonly [Readonly<Record<string, unknown>> | undefined, boolean][] = [
    [undefined, true],
    [{ severity: "high" }, true],
    [{ severity: ["low", "high"] }, true],
    [{ severity: "low" }, false],
    [{ "metadata.freeze": true, count: 3 }, true],
    [{ "metadata.freeze": true, count: "3" }, false],
    [{ missing: "x" }, false],
    [{ missing: null }, false],
    [{ end_time: null }, true],
    [{ severity: { not: "low" } }, true],
    [{ severity: { not: ["low", "high"] } }, false],
    [{ missing: { not: "low" } }, true],
    [{ "metadata.tags.0": "a" }, true],
    [{ "constructor.name": "Object" }, false],
    [{ toString: "x" }, false],
  ];
  test.each(rows)("passesFilters(%j) is %s", (filters, expected) => {
    expect(passesFilters(filters, data)).toBe(expected);
  });

  test("passesFilters() denies when the event has no data", () => {
    for (const nothing of [null, undefined, "text", 3])
      expect(passesFilters({ severity: "high" }, nothing)).toBe(false);
  });
});

test("triggerFor() and playbookFor() take the most exact one whose filters agree", () => {
  const playbook = (on: string) => ({ on, device: null, steps: [], lockTtlMs: 5_000 });
  const plan = {
    triggers: [
      { type: "alert.*", priority: "low" },
      { type: "alert.freeze", filters: { status: "active" } },
    ],
    playbooks: [playbook("alert.*"), playbook("alert.freeze")],
  } as unknown as AgentPlan; // only these two are read
  const event = (type: string, status: string) => ({ type, data: { status } }) as LabEvent;
  expect(triggerFor(plan, event("alert.freeze", "active"))?.type).toBe("alert.freeze");
  expect(triggerFor(plan, event("alert.freeze", "resolved"))?.type).toBe("alert.*");
  expect(triggerFor(plan, event("build.deployed", "active"))).toBeUndefined();
  expect(playbookFor(plan, "alert.freeze")?.on).toBe("alert.freeze");
  expect(playbookFor(plan, "alert.blackscreen")?.on).toBe("alert.*");
});

describe("parseDuration()", () => {
  const rows: readonly [string, number | null][] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["1.5s", 1_500],
    ["0s", 0],
    ["0.0001s", null],
    ["1.0005s", null],
    ["0.5ms", null],
    ["30", null],
    ["30 s", null],
    ["-1s", null],
    ["1e3s", null],
    ["1d", null],
    ["", null],
    ["s", null],
    ["9999999999s", null],
  ];
  test.each(rows)("parseDuration(%j) is %s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  test("parseDuration() reads what formatDuration() writes", () => {
    fc.assert(fc.property(fc.nat(999_999_999), (ms) => parseDuration(formatDuration(ms)) === ms));
  });
});

describe("parseVersion()", () => {
  test("compareVersions() orders as the standard's example does", () => {
    const order = [
      "1.0.0-alpha",
      "1.0.0-alpha.1",
      "1.0.0-alpha.beta",
      "1.0.0-beta",
      "1.0.0-beta.2",
      "1.0.0-beta.11",
      "1.0.0-rc.1",
      "1.0.0",
      "1.0.1",
      "1.2.0",
      "1.10.0",
      "2.0.0",
    ];
    const parsed = order.map((text) => parseVersion(text) ?? expect.fail(text));
    expect([...parsed].reverse().sort(compareVersions)).toEqual(parsed);
  });
  test.each([
    "",
    "1",
    "1.0",
    "v1.0.0",
    "01.0.0",
    "1.0.0-",
    "1.0.0-01",
    "1.0.0+build",
    "1.0.0-a_b",
    "1.0.0 ",
    `1.0.0-${"a".repeat(80)}`,
  ])("parseVersion(%j) is null", (text) => {
    expect(parseVersion(text)).toBeNull();
  });
  test("isVersionRange() takes the ranges of the users' format", () => {
    const good = ["*", "2.1.0", ">=1.0.0", "^1.2.3", "~1.2.3", ">=1.0.0 <2.0.0", ">= 1.0.0"];
    const bad = ["", ">=1", "latest", ">=1.0.0 ||", "1.x"];
    expect([...good, ...bad].filter(isVersionRange)).toEqual(good);
  });
});

describe("judgeFrame()", () => {
  const rows: readonly [name: string, frame: unknown, verdict: string][] = [
    [
      "S4: black, no audio capability",
      { blackscreen: true, blackscreen_percentage: 98.7, freeze: false, macroblocks: false, audio: null },
      "blackscreen",
    ],
    ["S5: degraded", { analyzed: true, subtitle_ocr_pending: true, error: "failed_to_save_full_data" }, "unknown"],
    ["degraded though it says all is well", { blackscreen: false, freeze: false, audio: true, error: "x" }, "unknown"],
    ["no audio capability", { blackscreen: false, freeze: false, macroblocks: false, audio: null }, "healthy"],
    ["audio missing altogether", { blackscreen: false, freeze: false }, "healthy"],
    ["audio lost", { blackscreen: false, freeze: false, macroblocks: false, audio: false }, "audio_loss"],
    ["black and frozen and silent", { blackscreen: true, freeze: true, audio: false }, "blackscreen"],
    ["frozen and silent", { blackscreen: false, freeze: true, audio: false }, "freeze"],
    ["macroblocks", { blackscreen: false, freeze: false, macroblocks: true, audio: true }, "macroblocks"],
    ["all is well", { blackscreen: false, freeze: false, macroblocks: false, audio: true }, "healthy"],
    ["freeze unmeasured", { blackscreen: false, freeze: null }, "unknown"],
    ["nothing measured", {}, "unknown"],
    ["not an object", "healthy", "unknown"],
    ["null", null, "unknown"],
  ];
  test.each(rows)("judgeFrame() judges %s", (_name, frame, verdict) => {
    expect(judgeFrame(frame).verdict).toBe(verdict);
  });
  test("judgeFrame() calls nothing healthy that has an error or was not measured", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (frame) => {
        const judged = judgeFrame(frame).verdict;
        const measured = (frame ?? {}) as Readonly<Record<string, unknown>>;
        if (judged === "healthy") expect([measured["blackscreen"], measured["freeze"]]).toEqual([false, false]);
      }),
    );
  });
});

test("nearest() finds typing errors, swaps included, and nothing far off", () => {
  const names = ["press_key", "analyse_frame", "wait"];
  expect(nearest("pres_key", names)).toBe("press_key");
  expect(nearest("analyze_frame", names)).toBe("analyse_frame");
  expect(nearest("wiat", names)).toBe("wait");
  expect(nearest("reboot", names)).toBeUndefined();
  expect(nearest("x".repeat(5_000), names)).toBeUndefined();
});

test.each([
  ["1.2.3", "*", true],
  ["1.2.3", "1.2.3", true],
  ["1.2.4", "=1.2.3", false],
  ["1.9.0", "^1.2.0", true],
  ["2.0.0", "^1.2.0", false],
  ["1.1.9", "^1.2.0", false],
  ["0.3.0", "^0.2.3", false],
  ["0.2.9", "^0.2.3", true],
  ["0.0.4", "^0.0.3", false],
  ["1.2.9", "~1.2.3", true],
  ["1.3.0", "~1.2.3", false],
  ["1.5.0", ">=1.0.0 <2.0.0", true],
  ["2.0.0", ">=1.0.0 <2.0.0", false],
  ["1.0.0", ">1.0.0", false],
  ["1.0.0", "<=1.0.0", true],
  ["2.0.0-rc.1", "^1.2.0", false],
  ["1.3.0-rc.1", "^1.2.0", false],
  ["1.3.0-rc.2", ">=1.3.0-rc.1", true],
  ["one", "*", false],
  ["1.0.0", "newest", false],
])("fitsRange(%j, %j) is %j", (version, range, fits) => {
  expect(fitsRange(version, range)).toBe(fits);
});
