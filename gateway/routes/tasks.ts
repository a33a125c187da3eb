/** Pieces of agent work. Invariant: what is shown is the task's own committed state; what is missing is null. */
import type { FastifyInstance } from "fastify";
import type { ActorView } from "../../runtime/api.ts";
import type { GatewayDeps } from "../deps.ts";
import { list, number, part, stateName, text } from "../fields.ts";
import { newestFirst } from "../reads.ts";
import {
  ANYTHING,
  ID,
  listOf,
  object,
  orNull,
  type Schema,
  STALE,
  STALE_NAMES,
  TEXT,
  TIME_OR_NULL,
  WHOLE,
} from "../schemas.ts";
import { kindRoutes } from "./kind.ts";

/** States of a task, in the order it goes through them; the last four are final. */
const STATES = [
  "waiting",
  "acquiring",
  "running",
  "ending",
  "retrying",
  "stopping",
  "losing",
  "releasing",
  "succeeded",
  "failed",
  "unknown",
  "aborted",
];

/** Of a step that is still to be done. */
const OPEN: readonly (string | null)[] = ["pending", "running"];

const SUMMARY_FIELDS: Readonly<Record<string, Schema>> = {
  id: TEXT,
  state: TEXT,
  agent: orNull(TEXT),
  agentVersion: orNull(TEXT),
  trigger: orNull(TEXT),
  priority: orNull(TEXT),
  device: orNull(object({ host: TEXT, device: TEXT })),
  startedAtMs: TIME_OR_NULL,
  endedAtMs: TIME_OR_NULL,
  lock: {
    ...orNull(object({ resource: TEXT, token: WHOLE })),
    description: "the device's lock, with its fencing token",
  },
  stepsTotal: WHOLE,
  stepsDone: { ...WHOLE, description: "steps that neither wait nor run" },
  evidenceCount: WHOLE,
  reason: { ...orNull(TEXT), description: "why it did not succeed" },
  updatedAtMs: TIME_OR_NULL,
  ...STALE,
};
const SUMMARY = object(SUMMARY_FIELDS, STALE_NAMES);
const TASK = object(
  {
    ...SUMMARY_FIELDS,
    steps: listOf(ANYTHING),
    evidence: listOf(ANYTHING),
    event: ANYTHING,
    revision: WHOLE,
    node: TEXT,
  },
  STALE_NAMES,
);

/** The task without its steps. Its context holds what `start` named as `spec`. */
function summaryOf({ id, value, context, updatedAtMs }: ActorView) {
  const own = part(context);
  const spec = part(own["spec"]);
  const { host, device } = part(spec["device"]);
  const { resource, token } = part(own["lock"]);
  const steps = list(own["steps"]);
  return {
    id,
    state: stateName(value),
    agent: text(spec["agent"]),
    agentVersion: text(spec["agentVersion"]),
    trigger: text(spec["trigger"]),
    priority: text(spec["priority"]),
    device: typeof host === "string" && typeof device === "string" ? { host, device } : null,
    startedAtMs: number(own["startedAtMs"]),
    endedAtMs: number(own["endedAtMs"]),
    lock: typeof resource === "string" && typeof token === "number" ? { resource, token } : null,
    stepsTotal: steps.length,
    stepsDone: steps.filter((step) => !OPEN.includes(text(part(step)["status"]))).length,
    evidenceCount: list(own["evidence"]).length,
    reason: text(own["reason"]),
    updatedAtMs,
  };
}

function taskOf(view: ActorView) {
  const own = part(view.context);
  return {
    ...summaryOf(view),
    steps: list(own["steps"]),
    evidence: list(own["evidence"]),
    event: part(own["spec"])["event"] ?? null,
    revision: view.revision,
    node: view.node,
  };
}

export function taskRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  kindRoutes(app, deps, {
    kind: "task",
    plural: "tasks",
    names: { list: "listTasks", read: "readTask" },
    list: {
      summary: "Tasks, last changed first",
      order: newestFirst,
      item: SUMMARY,
      filters: { state: { enum: STATES }, agent: ID },
      show: (view, query) => {
        const task = summaryOf(view);
        const wanted = (query.state ?? task.state) === task.state && (query.agent ?? task.agent) === task.agent;
        return wanted ? task : null;
      },
    },
    one: { summary: "One task: state, steps, evidence, lock and reason", item: TASK, show: taskOf },
  });
}
