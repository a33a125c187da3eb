/**
 * Events into the system. Invariant: 202 means that every event of the request is in the ingress stream; a repeat of
 * (source, id) within the server's window is stored once and answered alike.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { untilCallerLeaves } from "../caller.ts";
import { sleep } from "../../runtime/clock.ts";
import { BrokerUnavailableError, TroupeError } from "../../runtime/errors.ts";
import {
  BATCH_LIMIT,
  CLOUD_BATCH,
  CLOUD_EVENT,
  EVENTS,
  fromHeaders,
  type IncomingEvent,
  type StorableEvent,
  storable,
} from "../cloud-event.ts";
import type { GatewayDeps } from "../deps.ts";
import { GatewayError, PartialBatchError, type StoredEvent } from "../errors.ts";
import { answers, listOf, object, TEXT, WHOLE } from "../schemas.ts";

/** An append with an unknown outcome is repeated under its id for this long, in ms: a server's restart fits. */
const STORE_DEADLINE_MS = 5_000;
/** Pause before such a repeat, in ms. */
const STORE_RETRY_MS = 100;

const STORED = object({ id: TEXT, seq: { ...WHOLE, description: "place in the ingress stream" } });

export function eventRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  app.post<{ Body: IncomingEvent | IncomingEvent[] }>(
    "/api/events",
    {
      preValidation: async (request) => normalise(request),
      schema: {
        operationId: "postEvents",
        tags: ["events"],
        summary: "Take an event, or a batch",
        description:
          "CloudEvents 1.0 in structured, batched or binary mode (ce-* headers), or a bare { type, data }. 202 means stored.",
        body: {
          content: {
            "application/json": { schema: EVENTS },
            "application/cloudevents+json": { schema: CLOUD_EVENT },
            "application/cloudevents-batch+json": { schema: CLOUD_BATCH },
          },
        },
        response: answers({ 202: ["Stored", { anyOf: [STORED, object({ items: listOf(STORED) })] }] }, [413, 415]),
      },
    },
    async ({ body }, reply) => {
      const batch = Array.isArray(body);
      const events = (batch ? body : [body]).map((event) => storable(event, deps.clock));
      const stored = await storeAll(deps, events, untilCallerLeaves(reply));
      return reply.code(202).send(batch ? { items: stored } : stored[0]);
    },
  );
}

/** Brings binary mode into the form that the schema knows. */
async function normalise(request: FastifyRequest<{ Body: unknown }>): Promise<void> {
  const { body, headers } = request;
  if (request.mediaType === "application/json") request.body = fromHeaders(headers, body) ?? body;
  // Before the schema: it would name every fault of every event.
  if (Array.isArray(request.body) && request.body.length > BATCH_LIMIT) {
    throw new GatewayError(
      "PAYLOAD_TOO_LARGE",
      `The batch has ${request.body.length} events, ${BATCH_LIMIT} are allowed: send several batches`,
    );
  }
}

/** One after the other: the stream keeps the order of the batch. */
async function storeAll(deps: GatewayDeps, events: readonly StorableEvent[], signal: AbortSignal) {
  const stored: StoredEvent[] = [];
  for (const event of events) {
    try {
      stored.push({ id: event.id, seq: await store(deps, event, signal) });
    } catch (error) {
      if (stored.length === 0 || !(error instanceof TroupeError)) throw error;
      throw new PartialBatchError(error, stored, events.length);
    }
  }
  return stored;
}

async function store({ client, clock }: GatewayDeps, event: StorableEvent, signal: AbortSignal): Promise<number> {
  const until = clock.monotonic() + STORE_DEADLINE_MS;
  const subject = client.names.ingress(event.sourceToken, event.type);
  for (;;) {
    try {
      return await client.broker.append(subject, event.body, { messageId: event.messageId });
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) throw error;
      if (signal.aborted || clock.monotonic() + STORE_RETRY_MS >= until) {
        throw new BrokerUnavailableError(
          `Whether the event is stored is not known: send it again with the id ${JSON.stringify(event.id)}, it is taken once`,
          { cause: error },
        );
      }
    }
    // Without the signal: an abort shows at the next turn, and the last attempt names the id.
    await sleep(clock, STORE_RETRY_MS);
  }
}
