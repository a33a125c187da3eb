/**
 * One reply subscription for all requests of a connection. The client library's own request costs a subscription object, a
 * timer and an async stack per call and caps at a third of this rate. Invariant: every call settles, once: by its answer,
 * by "no responder", or by the sweep after its time-out; the table is bounded by {@link MUX_LIMIT}.
 */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection, type Subscription } from "nats";
import type { Clock, TimerHandle } from "./clock.ts";
import { BrokerUnavailableError, BusyError, NoResponderError } from "./errors.ts";

/** How often overdue calls are looked for, in ms: time-outs are that coarse. */
const SWEEP_MS = 25;
/** Calls in flight on one connection at most. At it: busy. */
export const MUX_LIMIT = 65_536;

interface Waiting {
  readonly subject: string;
  readonly deadlineMs: number;
  readonly resolve: (message: Msg) => void;
  readonly reject: (error: Error) => void;
}

export class RequestMux {
  readonly #connection: NatsConnection;
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #waiting = new Map<string, Waiting>();
  readonly #subscription: Subscription;
  #next = 0;
  #sweep: TimerHandle | undefined;

  constructor(connection: NatsConnection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
    this.#prefix = `${createInbox()}.`;
    this.#subscription = connection.subscribe(`${this.#prefix}*`, { callback: (_error, message) => this.#onReply(message) });
  }

  /**
   * Publishes with a reply address and waits for one answer.
   * @throws {NoResponderError} Nobody listens.
   * @throws {BrokerUnavailableError} No answer in time, or not connected.
   * @throws {BusyError} Too many calls in flight.
   */
  call(subject: string, data: Uint8Array, timeoutMs: number, headers?: MsgHdrs): Promise<Msg> {
    if (this.#waiting.size >= MUX_LIMIT) {
      return Promise.reject(new BusyError(`${MUX_LIMIT} calls are in flight on this connection: wait for some to finish`));
    }
    return new Promise((resolve, reject) => {
      const id = (this.#next++).toString(36);
      this.#waiting.set(id, { subject, deadlineMs: this.#clock.monotonic() + timeoutMs, resolve, reject });
      this.#sweep ??= this.#clock.setTimeout(() => this.#expire(), SWEEP_MS);
      try {
        const reply = this.#prefix + id;
        this.#connection.publish(subject, data, headers === undefined ? { reply } : { reply, headers });
      } catch (cause) {
        this.#waiting.delete(id);
        reject(new BrokerUnavailableError(`Cannot publish to "${subject}": the connection is closed`, { cause }));
      }
    });
  }

  close(): void {
    this.#subscription.unsubscribe();
    this.#clock.clearTimeout(this.#sweep);
    for (const call of this.#waiting.values()) {
      call.reject(new BrokerUnavailableError(`No answer from "${call.subject}": the connection was closed`));
    }
    this.#waiting.clear();
  }

  #onReply(message: Msg): void {
    const id = message.subject.slice(this.#prefix.length);
    const call = this.#waiting.get(id);
    if (call === undefined) return; // late: its time-out has passed
    this.#waiting.delete(id);
    if (message.data.length === 0 && message.headers?.code === 503) call.reject(new NoResponderError(call.subject));
    else call.resolve(message);
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    for (const [id, call] of this.#waiting) {
      if (call.deadlineMs > now) continue;
      this.#waiting.delete(id);
      call.reject(new BrokerUnavailableError(`No answer from "${call.subject}" in time: the outcome is unknown`));
    }
    this.#sweep = this.#waiting.size > 0 ? this.#clock.setTimeout(() => this.#expire(), SWEEP_MS) : undefined;
  }
}
