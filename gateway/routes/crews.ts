/** Crews: their work and their workers, found by what they can do. Invariant: reads only; who is not there any more is not shown as there. */
import type { FastifyInstance } from "fastify";
import { needOf } from "../../actors/crew-request.ts";
import { CREW_KIND, type Need } from "../../actors/messages/crew.ts";
import type { ActorView } from "../../runtime/api.ts";
import { crewOf, placesOf } from "../crews.ts";
import type { GatewayDeps } from "../deps.ts";
import { GatewayError } from "../errors.ts";
import { byId, type PageQuery, READ_DEADLINE_MS, readPage, within } from "../reads.ts";
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
  UNREADABLE,
  WHOLE,
} from "../schemas.ts";

const CAPABILITY = object({ name: TEXT, version: TEXT });
const WORKER = object({
  id: { ...TEXT, description: "kind/id" },
  state: { enum: ["hired", "free", "busy", "leaving"] },
  running: WHOLE,
  slots: WHOLE,
  capabilities: listOf(CAPABILITY),
  node: { ...orNull(TEXT), description: "null while it sleeps, or until another node has it" },
});
const CREW = object({
  id: TEXT,
  state: { enum: ["undeclared", "serving", "retired"] },
  problem: { ...orNull(TEXT), description: "why nobody can be hired" },
  balance: orNull(TEXT),
  assignment: orNull(TEXT),
  min: orNull(WHOLE),
  max: orNull(WHOLE),
  workers: listOf(WORKER),
  running: WHOLE,
  queued: WHOLE,
  unfit: {
    ...object({ total: WHOLE, first: listOf(object({ id: TEXT, needs: listOf(ANYTHING) })) }),
    description: "work that no worker can do, and what it needs",
  },
  oldestWaitMs: { ...orNull({ type: "number" }), description: "of what waits; null if nothing does" },
  counts: { type: "object", additionalProperties: WHOLE },
  decisions: listOf(object({ atMs: TIME, from: WHOLE, to: WHOLE, reason: TEXT })),
});
const CAN = {
  type: "string",
  minLength: 1,
  maxLength: 256,
  description: "only crews and workers that can do this: a name, or name@range such as scan@^1.2.0",
};

interface CrewQuery {
  readonly can?: string;
}

function needsOf({ can }: CrewQuery): Need[] {
  if (can === undefined) return [];
  const need = needOf(can);
  if (need !== null) return [need];
  throw new GatewayError(
    "BAD_QUERY",
    `can: ${JSON.stringify(can)} is no capability: give a name, or name@range such as scan@^1.2.0`,
  );
}

export function crewRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  const { client, clock } = deps;
  const whereAre = (views: readonly ActorView[]) => within(clock, placesOf(client, views), READ_DEADLINE_MS);

  app.get<{ Querystring: PageQuery & CrewQuery }>(
    "/api/crews",
    {
      schema: {
        operationId: "listCrews",
        tags: ["crews"],
        summary: "Crews in order of their ids, with their workers; those that cannot be read are marked",
        querystring: paged({ can: CAN }),
        response: answers({ 200: ["A page of crews", page({ anyOf: [CREW, UNREADABLE] })] }, [404]),
      },
    },
    async ({ query, signal }) => {
      const needs = needsOf(query);
      const found = await readPage(deps, { kind: CREW_KIND, order: byId, query, signal }, (view) => view);
      const places = await whereAre(found.items.filter((item) => "context" in item));
      const items = found.items.map((item) => ("context" in item ? crewOf(item, places, needs, clock.now()) : item));
      return {
        ...found,
        items: items.filter((item) => needs.length === 0 || !("workers" in item) || item.workers.length > 0),
      };
    },
  );

  app.get<{ Params: { id: string }; Querystring: CrewQuery }>(
    "/api/crews/:id",
    {
      schema: {
        operationId: "readCrew",
        tags: ["crews"],
        summary: "One crew: its workers, what waits and why, and the decisions on its size",
        params: object({ id: ID }),
        querystring: object({ can: CAN }, ["can"]),
        response: answers({ 200: ["The crew", CREW] }, [404, 409]),
      },
    },
    async ({ params, query, signal }) => {
      const view = await client.query(CREW_KIND, params.id, { deadlineMs: READ_DEADLINE_MS, signal });
      return crewOf(view, await whereAre([view]), needsOf(query), clock.now());
    },
  );
}
