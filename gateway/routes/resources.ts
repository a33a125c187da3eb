/** Locks on devices: who holds, who waits, who held. Invariant: read from the lock itself; a token is never made up. */
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
  TEXT,
  TIME,
  TIME_OR_NULL,
  UNREADABLE,
  WHOLE,
} from "../schemas.ts";

const RESOURCE = object({
  id: TEXT,
  state: TEXT,
  holder: { ...orNull(TEXT), description: "kind/id of the actor, or client/<name>" },
  token: { ...orNull(WHOLE), description: "fencing token of the present grant; null while nobody holds it" },
  expiresAtMs: TIME_OR_NULL,
  queue: { ...listOf(ANYTHING), description: "those who wait, the next one first" },
  updatedAtMs: TIME,
  history: { ...listOf(ANYTHING), description: "the last grants with their tokens" },
  revision: WHOLE,
  node: TEXT,
});

function resourceOf({ id, value, context, updatedAtMs, revision, node }: ActorView) {
  const own = part(context);
  const holder = text(own["holder"]);
  return {
    id,
    state: stateName(value),
    holder,
    // The context keeps the last token after the lock is free: the next grant counts on from it.
    token: holder === null ? null : number(own["token"]),
    expiresAtMs: holder === null ? null : number(own["expiresAtMs"]),
    queue: list(own["queue"]),
    updatedAtMs,
    history: list(own["history"]),
    revision,
    node,
  };
}

export function resourceRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  app.get<{ Querystring: PageQuery }>(
    "/api/resources",
    {
      schema: {
        operationId: "listResources",
        tags: ["resources"],
        summary: "Locks in order of their ids; those that cannot be read are marked",
        querystring: paged(),
        response: answers({ 200: ["A page of locks", page({ anyOf: [RESOURCE, UNREADABLE] })] }, [404]),
      },
    },
    async ({ query, signal }) => readPage(deps, "resource", query, signal, resourceOf),
  );

  app.get<{ Params: { id: string } }>(
    "/api/resources/:id",
    {
      schema: {
        operationId: "readResource",
        tags: ["resources"],
        summary: "One lock: holder, token, queue and the history of grants",
        params: object({ id: ID }),
        response: answers({ 200: ["The lock", RESOURCE] }, [404, 409]),
      },
    },
    async ({ params, signal }) =>
      resourceOf(await deps.client.query("resource", params.id, { deadlineMs: READ_DEADLINE_MS, signal })),
  );
}
