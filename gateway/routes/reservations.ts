/** Several locks in one call. Invariant: 201 means that the reservation is committed; whether it has its locks, a read of it tells. */
import type { FastifyInstance } from "fastify";
import { reserveProblem } from "../../actors/reservation.ts";
import { untilCallerLeaves } from "../caller.ts";
import type { GatewayDeps } from "../deps.ts";
import { GatewayError } from "../errors.ts";
import { list, part, stateName, text } from "../fields.ts";
import type { JsonObject } from "../json.ts";
import { byId, READ_DEADLINE_MS, readActor, readPage } from "../reads.ts";
import { ANYTHING, answers, ID, listOf, object, orNull, TEXT, WHOLE } from "../schemas.ts";
import { kindRoutes } from "./kind.ts";
import { checkKnown } from "../known-resource.ts";
import { accepted, HOLDER, REPLY } from "./lock-commands.ts";

/** Devices that tags are compared with at most. */
const DEVICES_LIMIT = 1_000;
/** Bytes of a reservation's id. */
const ID_BYTES = 8;

const RESERVE = object(
  {
    mode: { enum: ["all", "any"] },
    resources: listOf(ID),
    where: {
      ...object({ host: TEXT, model: TEXT }, ["host", "model"]),
      description: "instead of resources: any online device with these tags",
    },
    priority: { ...TEXT, description: "critical, high, normal or low" },
    ttlMs: WHOLE,
    holder: HOLDER,
  },
  ["mode", "resources", "where"],
);

interface Reserve {
  readonly mode?: "all" | "any";
  readonly resources?: readonly string[];
  readonly where?: { readonly host?: string; readonly model?: string };
}

const RESERVATION = object({
  id: TEXT,
  state: TEXT,
  owner: orNull(TEXT),
  locks: listOf(ANYTHING),
  resources: listOf(ANYTHING),
  reason: orNull(TEXT),
});

export function reservationRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  const show = ({
    id,
    value,
    context,
  }: {
    readonly id: string;
    readonly value: unknown;
    readonly context: unknown;
  }) => {
    const own = part(context);
    const { owner, reason } = own;
    return {
      id,
      state: stateName(value),
      owner: text(owner),
      locks: list(own["locks"]),
      resources: list(own["resources"]),
      reason: text(reason),
    };
  };
  kindRoutes(app, deps, {
    kind: "reservation",
    plural: "reservations",
    names: { list: "listReservations", read: "readReservation" },
    list: { summary: "Reservations in order of their ids", order: byId, item: RESERVATION, show },
    one: { summary: "One reservation: its locks with their tokens", item: RESERVATION, show },
  });
  reserveRoute(app, deps);
  commandRoute(app, deps);
}

function reserveRoute(app: FastifyInstance, deps: GatewayDeps): void {
  app.post<{ Body: Reserve & JsonObject }>(
    "/api/reservations",
    {
      schema: {
        operationId: "reserve",
        tags: ["reservations"],
        summary: "Reserve several resources, all or none, or any one of equals",
        body: RESERVE,
        response: answers({ 201: ["The reservation, which waits for its locks", REPLY] }, [404, 409, 413, 415, 422]),
      },
    },
    async ({ body: { where, ...body } }, reply) => {
      const signal = untilCallerLeaves(reply);
      const { mode = where === undefined ? "all" : "any", resources = [] } = body;
      for (const resource of resources) await checkKnown(deps.client, resource, { type: "acquire" }, { signal });
      const wanted = where === undefined ? resources : await devicesWith(deps, where, signal);
      const id = deps.clock.randomId(ID_BYTES);
      const event = { ...body, type: "reserve", mode, resources: wanted } as const;
      // Asked of the actor first, a refusal would leave an empty reservation behind.
      const problem = reserveProblem("", event);
      if (problem !== null) throw new GatewayError("BAD_REQUEST", problem);
      reply.code(201);
      return {
        id,
        ...accepted(await deps.client.ask("reservation", id, event, { deadlineMs: READ_DEADLINE_MS, signal })),
      };
    },
  );
}

function commandRoute(app: FastifyInstance, deps: GatewayDeps): void {
  app.post<{ Params: { id: string; command: string }; Body: JsonObject }>(
    "/api/reservations/:id/:command",
    {
      schema: {
        operationId: "commandReservation",
        tags: ["reservations"],
        summary: "Renew a reservation, or give it back",
        params: object({ id: ID, command: { enum: ["renew", "release"] } }),
        body: object({ holder: HOLDER }),
        response: answers({ 200: ["What the reservation answered", REPLY] }, [404, 409, 413, 415, 422]),
      },
    },
    async ({ params: { id, command }, body }, reply) => {
      const signal = untilCallerLeaves(reply);
      await readActor(deps.client, "reservation", id, { signal });
      const event = { ...body, type: command };
      return accepted(await deps.client.ask("reservation", id, event, { deadlineMs: READ_DEADLINE_MS, signal }));
    },
  );
}

/** Online devices with these tags, by id. */
async function devicesWith(
  deps: GatewayDeps,
  { host, model }: NonNullable<Reserve["where"]>,
  signal: AbortSignal,
): Promise<string[]> {
  const query = { limit: DEVICES_LIMIT };
  const { items } = await readPage(deps, { kind: "device", order: byId, query, signal }, ({ id, value, context }) => {
    const own = part(context);
    const isMatch = (host ?? own["host"]) === own["host"] && (model ?? own["model"]) === own["model"];
    return isMatch && stateName(value) === "online" ? { id } : null;
  });
  const ids = items.map(({ id }) => id);
  if (ids.length > 0) return ids;
  throw new GatewayError(
    "UNKNOWN_RESOURCE",
    `No device that is online has the tags ${JSON.stringify({ host, model })}: /api/actors/device lists all`,
  );
}
