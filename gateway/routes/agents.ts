/**
 * Agents: their definitions and their live state. Invariant: a version is immutable; 201 and 200 mean that it is stored
 * and its actor was told.
 */
import type { FastifyInstance } from "fastify";
import { untilCallerLeaves } from "../caller.ts";
import { ActorNotFoundError, TroupeError } from "../../runtime/errors.ts";
import type { AgentSummary } from "../agent-desk.ts";
import { YAML_TYPES } from "../bodies.ts";
import type { GatewayDeps } from "../deps.ts";
import { READ_CONCURRENCY, READ_DEADLINE_MS } from "../reads.ts";
import { ANYTHING, answers, ID, listOf, object, orNull, type Schema, TEXT, TIME, WHOLE } from "../schemas.ts";

const LIVE = object({ state: ANYTHING, context: ANYTHING, revision: WHOLE, node: TEXT, updatedAtMs: TIME }, [
  "context",
]);
const FAULT = object({ code: TEXT, message: TEXT });
const SUMMARY: Readonly<Record<string, Schema>> = {
  id: TEXT,
  name: TEXT,
  version: { ...TEXT, description: "the newest registered version" },
  goal: ANYTHING,
  triggers: listOf(ANYTHING),
  pools: listOf(TEXT),
  maxParallelTasks: WHOLE,
  registeredAtMs: TIME,
  live: { ...orNull(LIVE), description: "state of the agent's actor; null when it was never told of a version" },
  error: { ...orNull(FAULT), description: "why the live state could not be read" },
};
const AGENT = object({ ...SUMMARY, versions: { ...listOf(TEXT), description: "newest first" }, definition: ANYTHING });
const REGISTERED = object({
  id: TEXT,
  version: TEXT,
  created: { type: "boolean", description: "false: this version was registered before, with the same content" },
  activeVersion: {
    ...TEXT,
    description: "the newest registered version, by which the agent works; another one than `version` stays in force",
  },
});

/** An agent with the state of its actor, if that can be read. */
async function withLive({ client }: GatewayDeps, agent: AgentSummary, signal: AbortSignal) {
  const { id, ...rest } = agent;
  try {
    const { value, context, revision, node, updatedAtMs } = await client.query("agent", id, {
      deadlineMs: READ_DEADLINE_MS,
      signal,
    });
    return { id, ...rest, live: { state: value, context, revision, node, updatedAtMs }, error: null };
  } catch (error) {
    if (error instanceof ActorNotFoundError) return { id, ...rest, live: null, error: null };
    if (!(error instanceof TroupeError)) throw error;
    return { id, ...rest, live: null, error: { code: error.code, message: error.message } };
  }
}

export function agentRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  app.get(
    "/api/agents",
    {
      schema: {
        operationId: "listAgents",
        tags: ["agents"],
        summary: "Registered agents with their live state",
        response: answers({ 200: ["The agents", object({ items: listOf(object(SUMMARY)) })] }),
      },
    },
    async ({ signal }) => {
      const agents = await deps.desk.list();
      const items: unknown[] = [];
      for (let at = 0; at < agents.length; at += READ_CONCURRENCY) {
        const some = agents.slice(at, at + READ_CONCURRENCY);
        items.push(...(await Promise.all(some.map((agent) => withLive(deps, agent, signal)))));
      }
      return { items };
    },
  );

  app.get<{ Params: { id: string } }>(
    "/api/agents/:id",
    {
      schema: {
        operationId: "readAgent",
        tags: ["agents"],
        summary: "One agent with its live state",
        params: object({ id: ID }),
        response: answers({ 200: ["The agent", AGENT] }, [404]),
      },
    },
    async ({ params, signal }) => withLive(deps, await deps.desk.get(params.id), signal),
  );

  void app.register(async (scope) => registerRoute(scope, deps));
}

function registerRoute(scope: FastifyInstance, { desk }: GatewayDeps): void {
  // As text: a parsed object has lost the lines and columns that the errors name.
  scope.removeContentTypeParser("application/json");
  scope.addContentTypeParser("application/json", { parseAs: "string" }, (_request, text, done) => done(null, text));
  const yaml = Object.fromEntries(YAML_TYPES.map((type) => [type, { schema: { type: "string" } }]));

  scope.post<{ Body: string }>(
    "/api/agents/register",
    {
      schema: {
        operationId: "registerAgent",
        tags: ["agents"],
        summary: "Register a version of an agent",
        description: "The definition in YAML or JSON. Every error of it is named at once, with line and column.",
        body: { content: { ...yaml, "application/json": { schema: ANYTHING } } },
        response: answers(
          { 200: ["Registered before, with the same content", REGISTERED], 201: ["Registered", REGISTERED] },
          [409, 413, 415, 422],
        ),
      },
    },
    async ({ body }, reply) => {
      const registered = await desk.register(body, untilCallerLeaves(reply));
      return reply.code(registered.created ? 201 : 200).send(registered);
    },
  );
}
