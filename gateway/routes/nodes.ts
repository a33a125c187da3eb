/** The nodes of the cluster. Invariant: shows who answers just now; what a silent one would have to tell is null. */
import type { FastifyInstance } from "fastify";
import type { NodeFilter, NodeState } from "../../runtime/api.ts";
import { type Role, ROLES } from "../../runtime/families.ts";
import type { GatewayDeps } from "../deps.ts";
import { READ_DEADLINE_MS, within } from "../reads.ts";
import { answers, KIND, listOf, object, orNull, type Schema, TEXT, TIME, TIME_OR_NULL, WHOLE } from "../schemas.ts";

const STATES: readonly NodeState[] = ["alive", "leaving", "suspect", "dead"];
const NUMBER: Schema = { type: "number" };
const STATE: Schema = {
  enum: STATES,
  description: "alive, leaving: it answered; suspect: it did not; dead: only its record is left",
};

const HEALTH = object({
  measuredAtMs: TIME,
  cpu: { ...NUMBER, description: "processors in use, over the last second" },
  loopDelayMs: { ...NUMBER, description: "longest stall of the event loop in the last second" },
  errorRate: {
    type: ["number", "null"],
    description: "share of the last second's inputs that failed; null: no inputs",
  },
});

const NODE = object({
  name: TEXT,
  incarnation: TEXT,
  pid: WHOLE,
  host: TEXT,
  version: TEXT,
  kinds: listOf(TEXT),
  labels: { type: "object", additionalProperties: TEXT },
  roles: listOf({ enum: ROLES }),
  weight: NUMBER,
  state: STATE,
  startedAtMs: TIME_OR_NULL,
  shards: orNull(listOf({ type: ["integer", "string"], description: "a number, or <kind>=<value>" })),
  activations: orNull(WHOLE),
  queued: orNull(WHOLE),
  rounds: orNull(WHOLE),
  inputs: orNull(WHOLE),
  memoryBytes: orNull(WHOLE),
  refusal: { ...orNull(TEXT), description: "why it refuses messages just now; null: it takes them, or did not answer" },
  health: orNull(HEALTH),
});

const LABEL = "[A-Za-z][A-Za-z0-9_.-]{0,63}=[A-Za-z0-9_.:-]{1,128}";
const QUERY = object(
  {
    state: { ...STATE, description: "default: all but dead" },
    role: { enum: ROLES },
    kind: KIND,
    version: { type: "string", maxLength: 64, description: "this version, or one that begins with it" },
    labels: { type: "string", pattern: `^${LABEL}(,${LABEL}){0,15}$`, description: "name=value,…: all must hold" },
  },
  ["state", "role", "kind", "version", "labels"],
);

interface NodesQuery {
  readonly state?: NodeState;
  readonly role?: Role;
  readonly kind?: string;
  readonly version?: string;
  readonly labels?: string;
}

function filterOf({ state, labels, ...rest }: NodesQuery): NodeFilter {
  const pairs = labels?.split(",").map((pair) => pair.split("=", 2));
  return {
    ...rest,
    ...(state !== undefined && { states: [state] }),
    ...(pairs !== undefined && { labels: Object.fromEntries(pairs) as Record<string, string> }),
  };
}

export function nodeRoutes(app: FastifyInstance, { client, clock }: GatewayDeps): void {
  app.get<{ Querystring: NodesQuery }>(
    "/api/nodes",
    {
      schema: {
        operationId: "listNodes",
        tags: ["nodes"],
        summary: "Nodes with their state, place, shards, load and health",
        querystring: QUERY,
        response: answers({ 200: ["The nodes", object({ items: listOf(NODE) })] }),
      },
    },
    async ({ query }) => ({ items: await within(clock, client.nodes(filterOf(query)), READ_DEADLINE_MS) }),
  );
}
