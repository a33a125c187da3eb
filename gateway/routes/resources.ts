/** Locks on devices: who holds, who waits, who held. Invariant: read from the lock itself; a token is never made up. */
import type { FastifyInstance } from "fastify";
import type { ActorView } from "../../runtime/api.ts";
import type { GatewayDeps } from "../deps.ts";
import { list, number, part, stateName, text } from "../fields.ts";
import { byId } from "../reads.ts";
import { ANYTHING, listOf, object, orNull, STALE, STALE_NAMES, TEXT, TIME, TIME_OR_NULL, WHOLE } from "../schemas.ts";
import { strayLocks } from "../stray-locks.ts";
import { kindRoutes } from "./kind.ts";

const RESOURCE = object(
  {
    id: TEXT,
    state: TEXT,
    holder: { ...orNull(TEXT), description: "kind/id of the actor, or client/<name>" },
    token: { ...orNull(WHOLE), description: "fencing token of the present grant; null while nobody holds it" },
    expiresAtMs: TIME_OR_NULL,
    holders: { ...listOf(ANYTHING), description: "all who hold a place, with their tokens; one unless it is counted" },
    capacity: { ...orNull(WHOLE), description: "places" },
    closed: { ...listOf(ANYTHING), description: "why nobody is granted: maintenance or a lost host, with who and why" },
    queue: { ...listOf(ANYTHING), description: "those who wait, the next one first" },
    updatedAtMs: TIME,
    history: { ...listOf(ANYTHING), description: "the last grants with their tokens" },
    revision: WHOLE,
    node: TEXT,
    ...STALE,
  },
  STALE_NAMES,
);

function resourceOf({ id, value, context, updatedAtMs, revision, node }: ActorView) {
  const own = part(context);
  const holders = list(own["holders"]);
  const first = part(holders[0]);
  return {
    id,
    state: stateName(value),
    holder: text(first["holder"]),
    token: number(first["token"]),
    expiresAtMs: number(first["expiresAtMs"]),
    holders,
    capacity: number(own["capacity"]),
    closed: list(own["closed"]),
    queue: list(own["queue"]),
    updatedAtMs,
    history: list(own["history"]),
    revision,
    node,
  };
}

export function resourceRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  kindRoutes(app, deps, {
    kind: "resource",
    plural: "resources",
    names: { list: "listResources", read: "readResource" },
    list: {
      summary: "Locks in order of their ids, without free ones of devices that nobody ever heard of",
      order: byId,
      item: RESOURCE,
      without: strayLocks,
      show: resourceOf,
    },
    one: { summary: "One lock: holder, token, queue and the history of grants", item: RESOURCE, show: resourceOf },
  });
}
