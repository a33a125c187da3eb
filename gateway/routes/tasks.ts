/** Pieces of agent work. Invariant: what is shown is the task's own committed state; what is missing is null. */
import type { FastifyInstance } from "fastify";
import type { ActorView } from "../../runtime/api.ts";
import type { GatewayDeps } from "../deps.ts";
import { list, number, part, stateName, text } from "../fields.ts";
import { type PageQuery, READ_DEADLINE_MS, readPage } from "../reads.ts";
import {
  ANYTHING,
  answers,
  ID,
  listOf,
  object,
  orNull,
  page,
  paged,
  type Schema,
  TEXT,
  TIME_OR_NULL,
  UNREADABLE,
  WHOLE,
} from "../schemas.ts";

/** States of a task, in the order it goes through them; the last four are final. */
const STATES = [
  "waiting",
  "acquiring",
  "running",
  "retrying",
  "releasing",
  "succeeded",
  "failed",
  "unknown",
  "aborted",
];

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
  reason: { ...orNull(TEXT), description: "why it did not succeed" },
  updatedAtMs: TIME_OR_NULL,
};
const SUMMARY = object(SUMMARY_FIELDS);
const TASK = object({
  ...SUMMARY_FIELDS,
  steps: listOf(ANYTHING),
  evidence: listOf(ANYTHING),
  event: ANYTHING,
  revision: WHOLE,
  node: TEXT,
});

/** The task without its steps. Its context holds what `start` named as `spec`. */
function summaryOf({ id, value, context, updatedAtMs }: ActorView) {
  const own = part(context);
  const spec = part(own["spec"]);
  const { host, device } = part(spec["device"]);
  const { resource, token } = part(own["lock"]);
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
  app.get<{ Querystring: PageQuery & { readonly state?: string; readonly agent?: string } }>(
    "/api/tasks",
    {
      schema: {
        operationId: "listTasks",
        tags: ["tasks"],
        summary: "Tasks in order of their ids; those that cannot be read are marked",
        querystring: paged({ state: { enum: STATES }, agent: ID }),
        response: answers({ 200: ["A page of tasks", page({ anyOf: [SUMMARY, UNREADABLE] })] }, [404]),
      },
    },
    async ({ query, signal }) =>
      readPage(deps, "task", query, signal, (view) => {
        const task = summaryOf(view);
        const wanted = (query.state ?? task.state) === task.state && (query.agent ?? task.agent) === task.agent;
        return wanted ? task : null;
      }),
  );

  app.get<{ Params: { id: string } }>(
    "/api/tasks/:id",
    {
      schema: {
        operationId: "readTask",
        tags: ["tasks"],
        summary: "One task: state, steps, evidence, lock and reason",
        params: object({ id: ID }),
        response: answers({ 200: ["The task", TASK] }, [404, 409]),
      },
    },
    async ({ params, signal }) =>
      taskOf(await deps.client.query("task", params.id, { deadlineMs: READ_DEADLINE_MS, signal })),
  );
}
