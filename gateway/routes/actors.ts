/** Any actor: who there is, what it is in, how it came there. Invariant: reads only; nothing here creates an actor. */
import type { FastifyInstance } from "fastify";
import type { ActorView } from "../../runtime/api.ts";
import type { GatewayDeps } from "../deps.ts";
import { idsAfter, type PageQuery, READ_DEADLINE_MS, readActor, within } from "../reads.ts";
import {
  ANYTHING,
  answers,
  ID,
  KIND,
  object,
  orNull,
  page,
  paged,
  STALE,
  STALE_NAMES,
  TEXT,
  TIME,
  WHOLE,
} from "../schemas.ts";

const ACTOR = object(
  {
    kind: TEXT,
    id: TEXT,
    status: { enum: ["active", "done", "error", "stopped", "quarantined"] },
    state: { ...ANYTHING, description: "XState's state value: a text, or an object for nested and parallel states" },
    context: ANYTHING,
    output: ANYTHING,
    error: TEXT,
    revision: { ...WHOLE, description: "inputs applied so far" },
    version: WHOLE,
    node: { ...TEXT, description: "the node that answered" },
    updatedAtMs: TIME,
    ...STALE,
  },
  ["context", "output", "error", ...STALE_NAMES],
);
const LISTED = object({ kind: TEXT, id: TEXT, node: orNull(TEXT) });
const ENTRY = object(
  {
    revision: WHOLE,
    seq: WHOLE,
    timeMs: TIME,
    sender: TEXT,
    event: { type: "object", required: ["type"], properties: { type: TEXT }, additionalProperties: true },
    poison: TEXT,
  },
  ["poison"],
);
const ADDRESS = object({ kind: KIND, id: ID });
const HISTORY_QUERY = object(
  {
    limit: { type: "integer", minimum: 1, maximum: 1_000, default: 100 },
    after: { type: "integer", minimum: 0, default: 0, description: "revision after which to begin" },
  },
  ["limit", "after"],
);

export interface ActorParams {
  readonly kind: string;
  readonly id: string;
}

/** An actor as the gateway shows it: `state` is XState's value. */
export function actorOf({ value, ...rest }: ActorView): Record<string, unknown> {
  return { ...rest, state: value };
}

export function actorRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  const { client, clock } = deps;

  app.get<{ Params: { kind: string }; Querystring: PageQuery }>(
    "/api/actors/:kind",
    {
      schema: {
        operationId: "listActors",
        tags: ["actors"],
        summary: "Actors of a kind, in order of their ids",
        params: object({ kind: KIND }),
        querystring: paged(),
        response: answers({ 200: ["A page of actors", page(LISTED)] }, [404]),
      },
    },
    async ({ params, query }) => {
      const { listed, truncated } = await idsAfter(deps, params.kind, query.cursor);
      const items = listed.slice(0, query.limit);
      return { items, next: items.length < listed.length ? (items.at(-1)?.id ?? null) : null, truncated };
    },
  );

  app.get<{ Params: ActorParams }>(
    "/api/actors/:kind/:id",
    {
      schema: {
        operationId: "readActor",
        tags: ["actors"],
        summary: "State, context, revision and node of one actor",
        params: ADDRESS,
        response: answers({ 200: ["The actor", ACTOR] }, [404, 409]),
      },
    },
    async ({ params, signal }) => actorOf(await readActor(client, params.kind, params.id, { signal })),
  );

  app.get<{ Params: ActorParams; Querystring: { limit: number; after: number } }>(
    "/api/actors/:kind/:id/history",
    {
      schema: {
        operationId: "readHistory",
        tags: ["actors"],
        summary: "Every input of one actor, oldest first",
        params: ADDRESS,
        querystring: HISTORY_QUERY,
        response: answers({ 200: ["A page of the history", page(ENTRY, WHOLE)] }, [404, 409, 410]),
      },
    },
    async ({ params: { kind, id }, query, signal }) => {
      const all = await within(clock, client.history(kind, id), READ_DEADLINE_MS);
      // An actor without a history may still be known, or be no actor at all: the query tells.
      if (all.length === 0) await readActor(client, kind, id, { signal });
      const left = all.filter(({ revision }) => revision > query.after);
      const items = left.slice(0, query.limit);
      return { items, next: items.length < left.length ? (items.at(-1)?.revision ?? null) : null, truncated: false };
    },
  );
}
