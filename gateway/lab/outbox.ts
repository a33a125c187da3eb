/**
 * Events of a device on their way into NATS. Invariant: they leave in order, each until the server has stored it; a server that
 * is away delays them and loses none, up to the limit.
 */
import type { Logger } from "pino";
import { type Clock, sleep } from "../../runtime/clock.ts";
import type { Broker } from "../../runtime/port.ts";

/** Events that wait for the server at most: at one in ten seconds and device, hours. At it the oldest is dropped, loudly. */
export const OUTBOX_LIMIT = 1_000;
/** Pause before the same event is sent again, in ms. */
const RETRY_MS = 500;

export interface OutgoingEvent {
  readonly subject: string;
  readonly body: unknown;
  /** The server drops a second event with the same id. */
  readonly id: string;
}

export interface OutboxDeps {
  readonly broker: Pick<Broker, "append">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #waiting: OutgoingEvent[] = [];
  readonly #stopped = new AbortController();
  #sending = false;

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
  }

  send(event: OutgoingEvent): void {
    if (this.#stopped.signal.aborted) return;
    if (this.#waiting.length >= OUTBOX_LIMIT) {
      const dropped = this.#waiting.shift();
      this.#deps.log.error(
        { subject: dropped?.subject, id: dropped?.id },
        "event dropped: the server has been away too long",
      );
    }
    this.#waiting.push(event);
    if (!this.#sending) void this.#drain();
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** Never rejects: a refused event stays first in line. */
  async #drain(): Promise<void> {
    const { broker, clock, log } = this.#deps;
    this.#sending = true;
    for (let event = this.#waiting[0]; event !== undefined && !this.#stopped.signal.aborted; event = this.#waiting[0]) {
      try {
        await broker.append(event.subject, Buffer.from(JSON.stringify(event.body)), { messageId: event.id });
        if (this.#waiting[0] === event) this.#waiting.shift();
        log.info({ subject: event.subject, id: event.id }, "event");
      } catch (error) {
        if (this.#stopped.signal.aborted) break;
        log.warn(
          { subject: event.subject, id: event.id, error: error instanceof Error ? error.message : error },
          "event not stored, trying again",
        );
        await sleep(clock, RETRY_MS, this.#stopped.signal).catch(() => log.debug("outbox stopped"));
      }
    }
    this.#sending = false;
  }
}
