/**
 * The shape of an agent definition, in the users' format. Invariant: what passes has every default filled in, and its
 * names fit in subjects and keys.
 */
import { LOCK_SCOPES, type LockScope } from "../actors/messages/task.ts";
import { PRIORITIES } from "../runtime/priority.ts";
import {
  anyScalar,
  checkedText,
  data,
  duration,
  flag,
  integer,
  list,
  object,
  oneOf,
  optional,
  type Reader,
  record,
  required,
  scalarOr,
  text,
  withDefault,
} from "./readers.ts";
import { isVersionRange, parseVersion } from "../actors/version.ts";

/** Tasks of one agent at once at most: each has a timer of the agent, and 1,024 are the runtime's limit. */
export const MAX_PARALLEL_TASKS = 100;
/** Tasks at once of an agent that does not say, as the users' format has it. */
const DEFAULT_PARALLEL_TASKS = 3;
/** A task of an agent that does not say is aborted after this long, in s, as the users' format has it. */
export const DEFAULT_TASK_TIMEOUT_S = 3_600;
/** Longest task, in s: a day; longer work is many tasks. */
const MAX_TASK_TIMEOUT_S = 86_400;

const MAX_TRIGGERS = 100;
const MAX_POOLS = 50;
const MAX_SKILLS = 200;
const MAX_SUBAGENTS = 50;
const MAX_PLAYBOOKS = 100;
/** Steps of one playbook at most: the records of all of them are part of the task's state. */
const MAX_STEPS = 50;
const MAX_RETRIES = 10;
const MAX_FILTERS = 20;
/** Keys of a step's arguments at most. */
const MAX_ARGUMENTS = 50;
const MAX_NAME_CHARS = 120;
const MAX_DESCRIPTION_CHARS = 4_000;

/** A step that does not say may take this long an attempt. */
const DEFAULT_STEP_TIMEOUT = "30s";
const MAX_STEP_TIMEOUT_MS = 3_600_000;
/** Renewed at a third of it, so that a killed node's device is free again soon. */
const DEFAULT_LOCK_TTL = "30s";
/** Less would expire while a node fails over, in ms. */
const MIN_LOCK_TTL_MS = 5_000;
const MAX_LOCK_TTL_MS = 600_000;

export const ID_FORM = {
  pattern: /^[A-Za-z][A-Za-z0-9_-]{0,63}$/,
  says: "Use 1 to 64 of A-Z a-z 0-9 _ -, a letter first",
};
const EVENT_TYPE = {
  pattern: /^(?=.{1,120}$)[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*(\.\*)?$/,
  says: 'Write dotted lower-case words, like "alert.blackscreen", or "alert.*" for all below',
};
const POOL = {
  pattern: /^(shared|own)\.[a-z][a-z0-9_-]{0,63}$/,
  says: 'Write "shared.<name>" or "own.<name>", like "shared.alerts"',
};
const DATABASE_RIGHT = {
  pattern: /^(read|write)(\.[a-z][a-z0-9_]*)?$/,
  says: 'Write "read", "write" or one table, like "write.results"',
};
const CRON = {
  pattern: /^([\d*/,A-Za-z#?-]+\s+){4,5}[\d*/,A-Za-z#?-]+$/,
  says: 'Write five fields, like "0 */6 * * *"',
};
const ANY_NAME = { max: 64, form: { pattern: /^[A-Za-z][A-Za-z0-9_.-]*$/, says: "Use letters, digits, _ . -" } };

const version = checkedText("The version", 64, (value) =>
  parseVersion(value) !== null ? null : { hint: `Write three numbers, like ${versionLike(value)}` },
);
const range = checkedText("The version range", 128, (value) =>
  isVersionRange(value) ? null : { hint: 'Write a version or a range, like ">=1.0.0"' },
);

/** What was probably meant: `v1.2` → `"1.2.0"`. */
function versionLike(value: string): string {
  const numbers = /^v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$/.exec(value);
  const parts = [numbers?.[1] ?? "1", numbers?.[2] ?? "0", numbers?.[3] ?? "0"].map(Number);
  return `"${parts.join(".")}"`;
}

const id = (what: string) => text(what, { max: 64, form: ID_FORM });
const eventType = (what: string) => text(what, { max: 120, form: EVENT_TYPE });
const description = text("The description", { max: MAX_DESCRIPTION_CHARS, min: 0 });

const scalars = scalarOr(anyScalar, list("The filter", anyScalar, { max: MAX_FILTERS, min: 1 }));
const filter = scalarOr(anyScalar, {
  read: (tree, path, report) =>
    tree.kind === "map"
      ? object("The filter", { not: required(scalars) }).read(tree, path, report)
      : scalars.read(tree, path, report),
} satisfies Reader<unknown>);

const trigger = object("The trigger", {
  type: required(eventType("The event type")),
  priority: optional(oneOf("The priority", PRIORITIES)),
  filters: optional(record("The filters", filter, MAX_FILTERS)),
  cron: optional(text("The cron expression", { max: 120, form: CRON })),
});

const natsSkill = object("The skill", {
  id: required(id("The skill's id")),
  nats: optional(text("The NATS skill", { max: 64, form: ID_FORM })),
  needs_device: withDefault(flag('The key "needs_device"'), false),
  locks: optional(oneOf("The lock", LOCK_SCOPES)),
});
interface DeclaredSkill {
  readonly id: string;
  readonly nats?: string;
  readonly needs_device: boolean;
  readonly locks?: LockScope;
}
/** `name` stands for `{ id: name }`. */
const skill: Reader<DeclaredSkill> = {
  read: (tree, path, report) => {
    if (tree.kind === "map") return natsSkill.read(tree, path, report) as DeclaredSkill | undefined;
    const name = id("The skill").read(tree, path, report);
    return name === undefined ? undefined : { id: name, needs_device: false };
  },
};

const step = object("The step", {
  id: required(id("The step's id")),
  skill: required(id("The skill")),
  with: withDefault(data("The arguments", MAX_ARGUMENTS), {}),
  timeout: withDefault(duration("The timeout", 1, MAX_STEP_TIMEOUT_MS), DEFAULT_STEP_TIMEOUT),
  retries: optional(integer("The number of retries", 0, MAX_RETRIES)),
});

const playbook = object("The playbook", {
  on: required(eventType("The event type")),
  device: withDefault(oneOf("The device", ["event", "none"]), "event"),
  lock_ttl: withDefault(duration("The lock's time to live", MIN_LOCK_TTL_MS, MAX_LOCK_TTL_MS), DEFAULT_LOCK_TTL),
  steps: required(list("The list of steps", step, { max: MAX_STEPS, min: 1 })),
});

const subagent = object("The subagent", {
  id: required(id("The subagent's id")),
  version: withDefault(range, "*"),
  delegate_for: withDefault(
    list('The key "delegate_for"', text("The kind of work", ANY_NAME), { max: MAX_SKILLS }),
    [],
  ),
});

const permissions = object("The permissions", {
  devices: withDefault(
    list("The device permissions", oneOf("The permission", ["read", "take_control"]), { max: 10 }),
    [],
  ),
  database: withDefault(
    list("The database permissions", text("The permission", { max: 64, form: DATABASE_RIGHT }), { max: 50 }),
    [],
  ),
  external: withDefault(list("The external systems", text("The system", ANY_NAME), { max: 50 }), []),
});

const config = object("The config", {
  max_parallel_tasks: withDefault(
    integer('The key "max_parallel_tasks"', 1, MAX_PARALLEL_TASKS),
    DEFAULT_PARALLEL_TASKS,
  ),
  approval_required_for: withDefault(
    list('The key "approval_required_for"', text("The skill", ANY_NAME), { max: MAX_SKILLS }),
    [],
  ),
  auto_retry: withDefault(flag('The key "auto_retry"'), true),
  feedback_collection: withDefault(flag('The key "feedback_collection"'), true),
  timeout_seconds: withDefault(integer('The key "timeout_seconds"', 1, MAX_TASK_TIMEOUT_S), DEFAULT_TASK_TIMEOUT_S),
});

const CONFIG_DEFAULTS = {
  max_parallel_tasks: DEFAULT_PARALLEL_TASKS,
  approval_required_for: [] as string[],
  auto_retry: true,
  feedback_collection: true,
  timeout_seconds: DEFAULT_TASK_TIMEOUT_S,
};

/** The whole document. */
export const definitionReader = object("The definition", {
  metadata: required(
    object("The metadata", {
      id: required(id("The agent's id")),
      name: required(text("The name", { max: MAX_NAME_CHARS })),
      version: required(version),
      author: withDefault(text("The author", { max: MAX_NAME_CHARS }), "unknown"),
      description: withDefault(description, ""),
      created_at: optional(text('The key "created_at"', { max: 64 })),
      updated_at: optional(text('The key "updated_at"', { max: 64 })),
    }),
  ),
  goal: required(
    object("The goal", {
      type: required(oneOf("The goal's type", ["continuous", "on-demand"])),
      description: required(description),
    }),
  ),
  triggers: withDefault(
    object("The triggers", {
      events: withDefault(list("The list of events", trigger, { max: MAX_TRIGGERS }), []),
      event_pools: withDefault(
        list("The list of pools", text("The pool", { max: 80, form: POOL }), { max: MAX_POOLS }),
        [],
      ),
    }),
    { events: [], event_pools: [] },
  ),
  subagents: withDefault(list("The list of subagents", subagent, { max: MAX_SUBAGENTS }), []),
  skills: withDefault(list("The list of skills", skill, { max: MAX_SKILLS }), []),
  permissions: withDefault(permissions, { devices: [], database: [], external: [] }),
  config: withDefault(config, CONFIG_DEFAULTS),
  playbook: withDefault(list("The playbook", playbook, { max: MAX_PLAYBOOKS }), []),
});

type Read<R> = R extends Reader<infer T> ? T : never;

/** A valid definition, defaults filled in, durations as written. */
export type AgentDefinition = Read<typeof definitionReader>;
export type StepDefinition = Read<typeof step>;
export type PlaybookDefinition = Read<typeof playbook>;
