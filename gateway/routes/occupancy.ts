/** How resources were used: a timeline of each, and the most contended first. Invariant: reads only. */
import type { FastifyInstance } from "fastify";
import type { GatewayDeps } from "../deps.ts";
import { byContention, occupancyOf, timelineOf } from "../occupancy.ts";
import { byId, READ_DEADLINE_MS, readPage } from "../reads.ts";
import { answers, ID, listOf, object, orNull, TEXT, TIME_OR_NULL, WHOLE } from "../schemas.ts";

/** Locks that are compared at most: a lab of hundreds of devices fits. */
const COMPARED_LIMIT = 500;
const NUMBER_OR_NULL = { type: ["number", "null"] };

const SUMMARY = {
  resource: TEXT,
  grants: { ...WHOLE, description: "grants kept; all figures are of these" },
  sinceMs: TIME_OR_NULL,
  busy: { ...NUMBER_OR_NULL, description: "part of the time in which it was held, 0 to 1; null: never granted" },
  waitingNow: WHOLE,
  waitedMs: { type: "number", description: "all waits together" },
  longestWaitMs: NUMBER_OR_NULL,
  longestHoldMs: NUMBER_OR_NULL,
};
const OCCUPIED = object({
  token: orNull(WHOLE),
  holder: orNull(TEXT),
  waitedMs: NUMBER_OR_NULL,
  grantedAtMs: TIME_OR_NULL,
  endedAtMs: { ...TIME_OR_NULL, description: "null: it lasts" },
  heldMs: NUMBER_OR_NULL,
  reason: { ...orNull(TEXT), description: "why it ended" },
  by: { ...orNull(TEXT), description: "who ended it, if somebody did" },
  why: orNull(TEXT),
});

export function occupancyRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  app.get(
    "/api/contention",
    {
      schema: {
        operationId: "listOccupancy",
        tags: ["resources"],
        summary: `How resources were used, the most contended first; ${COMPARED_LIMIT} are compared at most`,
        response: answers(
          { 200: ["Resources", object({ items: listOf(object(SUMMARY)), truncated: { type: "boolean" } })] },
          [404],
        ),
      },
    },
    async ({ signal }) => {
      const nowMs = deps.clock.now();
      const query = { limit: COMPARED_LIMIT };
      const { items, next } = await readPage(deps, { kind: "resource", order: byId, query, signal }, (view) =>
        occupancyOf(view, nowMs),
      );
      const read = items.flatMap((item) => ("unreadable" in item ? [] : [item]));
      return { items: read.sort(byContention), truncated: next !== null || read.length < items.length };
    },
  );

  app.get<{ Params: { id: string } }>(
    "/api/resources/:id/occupancy",
    {
      schema: {
        operationId: "readOccupancy",
        tags: ["resources"],
        summary: "Who had one resource, how long, and why that ended; the latest last",
        params: object({ id: ID }),
        response: answers({ 200: ["The timeline", object({ ...SUMMARY, timeline: listOf(OCCUPIED) })] }, [404, 409]),
      },
    },
    async ({ params, signal }) => {
      const view = await deps.client.query("resource", params.id, { deadlineMs: READ_DEADLINE_MS, signal });
      const nowMs = deps.clock.now();
      return { ...occupancyOf(view, nowMs), timeline: timelineOf(view, nowMs) };
    },
  );
}
