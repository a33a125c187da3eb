/**
 * Carries messages of one stream to a handler, shared by all nodes. Invariant: a message is acknowledged only after its
 * handler is done with it or its dead letter is stored; one that cannot be handled never holds up the others.
 */
import type { Names } from "../nats-config/subjects.ts";
import { type Clock, sleep } from "../runtime/clock.ts";
import { PayloadError, TroupeError, UnknownKindError } from "../runtime/errors.ts";
import type { Broker, Delivery, Subscription } from "../runtime/port.ts";
import { storeDead } from "./dead-event.ts";

/** What a pump needs of a logger; pino's fits. */
export interface PumpLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface PumpDeps {
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Clock;
  readonly log: PumpLog;
}

export interface PumpOptions {
  /** Short name for logs and dead letters, one subject token. */
  readonly name: string;
  readonly stream: string;
  readonly durable: string;
  readonly subjects: readonly string[];
  /** Does all that the message asks for. What it throws decides: retryable → later again, else → dead letters. */
  readonly handle: (delivery: Delivery) => Promise<void>;
}

export interface Pump {
  /** Takes no more, and resolves when what was taken is settled. */
  stop(): Promise<void>;
}

/** Messages in flight to one node: enough to fill a few rounds, few enough to repeat after a crash. */
export const PUMP_MAX_IN_FLIGHT = 64;
/** One call of a handler at most, in ms. A handler makes two at most. */
export const PUMP_CALL_DEADLINE_MS = 10_000;
/**
 * What a node took and did not acknowledge for this long is given to another, in ms: a killed node holds nothing up for longer.
 * A second delivery beside a slow handler is harmless: pools drop a known message id, agents a known event.
 */
const ACK_WAIT_MS = 5_000;
/** First pause before a repeated delivery, in ms; doubles up to {@link REDELIVERY_MAX_MS}, with jitter. */
const REDELIVERY_MIN_MS = 200;
const REDELIVERY_MAX_MS = 30_000;
/** Deliveries of one message at most, about eight hours of trying: then a person has to look. */
export const DELIVERY_LIMIT = 1_000;
/** How long a start waits for the broker, in ms: a fail-over of its leader takes a few seconds. */
const START_TIMEOUT_MS = 30_000;
const START_PAUSE_MS = 250;

/** Starts delivery. @throws {BrokerUnavailableError} The consumer could not be made within {@link START_TIMEOUT_MS}. */
export async function startPump(deps: PumpDeps, options: PumpOptions): Promise<Pump> {
  const inFlight = new Set<Promise<void>>();
  let isStopped = false;
  const onDelivery = (delivery: Delivery): void => {
    if (isStopped) return; // unacknowledged: another node gets it
    const settled = settle(deps, options, delivery).finally(() => inFlight.delete(settled));
    inFlight.add(settled);
  };
  const subscription = await consume(deps, options, onDelivery);
  return {
    stop: async () => {
      isStopped = true;
      subscription.unsubscribe();
      await Promise.all(inFlight);
    },
  };
}

async function consume(
  deps: PumpDeps,
  options: PumpOptions,
  onDelivery: (delivery: Delivery) => void,
): Promise<Subscription> {
  const { broker, clock, log } = deps;
  const { name, stream, durable, subjects } = options;
  const startedMs = clock.monotonic();
  for (;;) {
    try {
      return await broker.consume(
        stream,
        { durable, subjects, maxInFlight: PUMP_MAX_IN_FLIGHT, ackWaitMs: ACK_WAIT_MS },
        onDelivery,
      );
    } catch (error) {
      const isLate = clock.monotonic() - startedMs > START_TIMEOUT_MS;
      if (isLate || !(error instanceof TroupeError && error.retryable)) throw error;
      log.warn({ err: error, pump: name }, "Pump cannot start yet");
      await sleep(clock, START_PAUSE_MS);
    }
  }
}

/** Never throws: whatever happens the message is acknowledged, asked for again, or left for the server to repeat. */
async function settle(deps: PumpDeps, options: PumpOptions, delivery: Delivery): Promise<void> {
  try {
    await options.handle(delivery);
    delivery.ack();
  } catch (error) {
    const mayPass = isPassing(error) && delivery.attempt < DELIVERY_LIMIT;
    if (mayPass) {
      deps.log.warn(
        { err: error, pump: options.name, seq: delivery.seq, attempt: delivery.attempt },
        "Message is tried again later",
      );
      delivery.nak(pauseMs(deps.clock, delivery.attempt));
    } else await bury(deps, options, delivery, error);
  }
}

/** A kind that nobody hosts just now may be hosted again after a restart, as a node that is gone comes back. */
const isPassing = (error: unknown): boolean =>
  error instanceof TroupeError && (error.retryable || error instanceof UnknownKindError);

function pauseMs(clock: Clock, attempt: number): number {
  const longest = Math.min(REDELIVERY_MAX_MS, REDELIVERY_MIN_MS * 2 ** Math.min(attempt - 1, 16));
  return Math.round(longest * (0.5 + clock.random() / 2));
}

async function bury(deps: PumpDeps, options: PumpOptions, delivery: Delivery, error: unknown): Promise<void> {
  const { log, clock } = deps;
  const { seq, subject, timeMs, data } = delivery;
  log.error({ err: error, pump: options.name, seq, subject }, "Message went to the dead letters");
  try {
    await storeDead(deps, {
      reason: error instanceof PayloadError ? "malformed" : "refused",
      kind: options.name,
      id: String(seq),
      cause: error instanceof TroupeError ? `${error.code}: ${error.message}` : String(error),
      timeMs,
      subject,
      data,
      messageId: `dead-${delivery.stream}-${seq}`,
    });
    delivery.ack();
  } catch (notStored) {
    log.warn({ err: notStored, pump: options.name, seq: delivery.seq }, "Dead letter cannot be stored yet");
    delivery.nak(pauseMs(clock, delivery.attempt));
  }
}
