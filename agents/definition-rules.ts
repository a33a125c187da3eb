/**
 * What a definition means as a whole: names that must agree, rights that must be there. Invariant: a rule speaks only
 * about parts that are valid by themselves, so one mistake is reported once.
 */
import { typeMatches } from "../actors/classify.ts";
import type { LockScope } from "../actors/messages/task.ts";
import type { AgentDefinition } from "./definition-schema.ts";
import { scopeOf } from "./lock-scope.ts";
import { suggest } from "./nearest.ts";
import { locate, type Path, short, subtree, type Tree } from "./positions.ts";
import type { Report } from "./readers.ts";
import { templateProblem, templatesIn } from "./template-check.ts";

/** What definitions may know about a skill that exists in code. */
export interface SkillFacts {
  readonly needsDevice: boolean;
  /** What it needs for itself. Default: the device if it needs one. */
  readonly locks?: LockScope;
  /** Names of the arguments; without them any are taken. */
  readonly args?: { readonly required: readonly string[]; readonly optional: readonly string[] };
}

/** As read, with holes where something was invalid. */
type Draft<T> = T extends readonly (infer U)[]
  ? readonly (Draft<U> | undefined)[]
  : T extends object
    ? { readonly [K in keyof T]?: Draft<T[K]> }
    : T;
type DraftDefinition = Draft<AgentDefinition>;
type DraftPlaybook = Draft<AgentDefinition["playbook"][number]>;
type DraftStep = Draft<AgentDefinition["playbook"][number]["steps"][number]>;

interface Rules {
  readonly draft: DraftDefinition;
  readonly skills: ReadonlyMap<string, SkillFacts> | undefined;
  /** Reports at the path's place. */
  readonly wrong: (path: Path, message: string, hint: string) => void;
  readonly tree: Tree;
}

/** Reports every broken rule. `skills` are those that exist in code; without them nothing is said about existence. */
export function checkRules(
  definition: AgentDefinition,
  tree: Tree,
  skills: ReadonlyMap<string, SkillFacts> | undefined,
  report: Report,
): void {
  const wrong = (path: Path, message: string, hint: string) => report.add(locate(tree, path), path, message, hint);
  const rules: Rules = { draft: definition, skills, wrong, tree };
  const { triggers } = rules.draft;
  refuseTwins(
    rules,
    ["skills"],
    rules.draft.skills?.map((skill) => skill?.id),
    "skill",
    "id",
  );
  refuseTwins(
    rules,
    ["subagents"],
    rules.draft.subagents?.map((agent) => agent?.id),
    "subagent",
    "id",
  );
  refuseTwins(
    rules,
    ["triggers", "events"],
    triggers?.events?.map((trigger) => trigger?.type),
    "trigger",
    "type",
  );
  refuseTwins(rules, ["triggers", "event_pools"], triggers?.event_pools, "pool");
  refuseTwins(
    rules,
    ["playbook"],
    rules.draft.playbook?.map((playbook) => playbook?.on),
    "playbook",
    "on",
  );
  if ((triggers?.events?.length ?? 0) > 0 && triggers?.event_pools?.length === 0) {
    wrong(
      ["triggers", "event_pools"],
      "The agent follows no pool, so none of its triggers can fire",
      'Name the pools, like "- shared.alerts"',
    );
  }
  rules.draft.playbook?.forEach((playbook, index) => {
    if (playbook !== undefined) checkPlaybook(rules, playbook, ["playbook", index]);
  });
}

function refuseTwins(
  rules: Rules,
  path: Path,
  names: readonly (string | undefined)[] | undefined,
  what: string,
  field?: string,
): void {
  const first = new Map<string, number>();
  names?.forEach((name, index) => {
    if (name === undefined) return;
    const before = first.get(name);
    const at = [...path, index, ...(field === undefined ? [] : [field])];
    if (before === undefined) first.set(name, index);
    else
      rules.wrong(
        at,
        `The ${what} "${short(name)}" stands twice`,
        `Keep one; the first is number ${before + 1} of the list`,
      );
  });
}

function checkPlaybook(rules: Rules, playbook: DraftPlaybook, path: Path): void {
  const types = (rules.draft.triggers?.events ?? []).map((trigger) => trigger?.type);
  const known = types.filter((type) => type !== undefined);
  const { on } = playbook;
  // A list with holes may hold the very trigger that is missing.
  if (
    on !== undefined &&
    known.length === types.length &&
    !known.some((type) => type === on || typeMatches(type, on))
  ) {
    rules.wrong(
      [...path, "on"],
      `No trigger fires for "${short(on)}"`,
      known.length === 0 ? `Add it to triggers.events: "- type: ${on}"` : suggest(on, known, "triggers"),
    );
  }
  if (playbook.device === "event" && !(rules.draft.permissions?.devices?.includes("take_control") ?? true)) {
    rules.wrong(
      path,
      "The playbook locks the event's device without the permission to",
      'Add "devices: [take_control]" to permissions, or "device: none" here',
    );
  }
  const scopes = new Set(
    playbook.steps?.flatMap((step) => scopeOf(rules.draft.skills ?? [], step?.skill ?? "", rules.skills) ?? []),
  );
  scopes.delete("none");
  if (scopes.size > 1)
    rules.wrong(
      [...path, "steps"],
      `The steps need ${[...scopes].join(" and ")} for themselves, and a playbook locks one thing`,
      "Split it into playbooks that each lock one",
    );
  refuseTwins(
    rules,
    [...path, "steps"],
    playbook.steps?.map((step) => step?.id),
    "step",
    "id",
  );
  const earlier = new Set<string>();
  playbook.steps?.forEach((step, index) => {
    if (step === undefined) return;
    const at = [...path, "steps", index];
    checkSkill(rules, playbook, step, at);
    checkTemplates(rules, playbook, earlier, [...at, "with"]);
    if (step.id !== undefined) earlier.add(step.id);
  });
}

function checkSkill(rules: Rules, playbook: DraftPlaybook, step: DraftStep, path: Path): void {
  const { skill } = step;
  if (skill === undefined) return;
  const at = [...path, "skill"];
  const declared = rules.draft.skills?.find((each) => each?.id === skill);
  if (declared === undefined) {
    const names = (rules.draft.skills ?? []).flatMap((each) => each?.id ?? []);
    const hasHoles = names.length !== rules.draft.skills?.length;
    if (!hasHoles)
      rules.wrong(
        at,
        `The skill "${skill}" is not listed in skills`,
        names.length === 0 ? `Add "skills: [${skill}]"` : suggest(skill, names, "skills"),
      );
  } else if (declared.nats === undefined && rules.skills !== undefined && !rules.skills.has(skill)) {
    rules.wrong(
      at,
      `There is no skill "${skill}"`,
      `${suggest(skill, [...rules.skills.keys()], "skills")}, or declare "{ id: ${skill}, nats: <name> }" in skills`,
    );
  }
  if (rules.draft.config?.approval_required_for?.includes(skill) === true) {
    rules.wrong(
      at,
      `The skill "${skill}" needs an approval, and a playbook cannot ask for one`,
      "Take it out of the steps, or out of config.approval_required_for",
    );
  }
  const facts = declared?.nats === undefined ? rules.skills?.get(skill) : undefined;
  if (playbook.device === "none" && (facts?.needsDevice === true || declared?.needs_device === true)) {
    rules.wrong(
      at,
      `The skill "${skill}" needs a device, and the playbook takes none`,
      'Write "device: event" in the playbook',
    );
  }
  checkArguments(rules, step, facts, skill, path);
}

function checkArguments(rules: Rules, step: DraftStep, facts: SkillFacts | undefined, skill: string, path: Path): void {
  if (facts?.args === undefined || step.with === undefined) return;
  const known = [...facts.args.required, ...facts.args.optional];
  const given = Object.keys(step.with);
  for (const name of facts.args.required) {
    if (!given.includes(name))
      rules.wrong(
        [...path, "with", name],
        `The skill "${skill}" needs the argument "${name}"`,
        `Add "with: { ${name}: … }"`,
      );
  }
  for (const name of given) {
    if (!known.includes(name))
      rules.wrong(
        [...path, "with", name],
        `The skill "${skill}" has no argument "${short(name)}"`,
        suggest(name, known, "arguments"),
      );
  }
}

function checkTemplates(rules: Rules, playbook: DraftPlaybook, earlier: ReadonlySet<string>, path: Path): void {
  const tree = subtree(rules.tree, path);
  if (tree === undefined) return;
  const all = (playbook.steps ?? []).flatMap((step) => step?.id ?? []);
  for (const { template, path: at } of templatesIn(tree, path)) {
    const problem = templateProblem(template, [...earlier], all);
    if (problem !== null) rules.wrong(at, problem.message, problem.hint);
  }
}
