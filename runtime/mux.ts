/**
 * One reply subscription for all requests of a connection. The client library's own request costs a subscription object, a
 * timer and an async stack per call and caps at a third of this rate. Invariant: every call settles, once: by its answer,
 * by "no responder", or by the sweep after its time-out; the table is bounded by {@link MUX_LIMIT}.
 */
import {
  ClosedConnectionError,
  createInbox,
  DrainingConnectionError,
  InvalidArgumentError,
  InvalidSubjectError,
  type Msg,
  type MsgHdrs,
  type NatsConnection,
  type Subscription,
} from "nats";
import { BATCHABLE, takeApart } from "./answers.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import { BrokerUnavailableError, BusyError, CorruptRecordError, NoResponderError, PayloadError } from "./errors.ts";

/** How often overdue calls are looked for, in ms: time-outs are that coarse. */
const SWEEP_MS = 25;
/** Calls in flight on one connection at most. At it: busy. */
const MUX_LIMIT = 65_536;
/** Status of an answer that the server gives for a subject without a subscriber. */
const NO_RESPONDERS = 503;

/** Reads an answer: the value of the call, or undefined when more answers follow. What it throws, the call throws. */
export type Take<T> = (message: Msg) => T | undefined;

/** How a kind of call is treated. */
export interface CallKind {
  /** What the caller gets when nobody listens. */
  readonly nobody: (subject: string) => Error;
  /** Fails with the connection instead of at its time-out: for what may be repeated without harm. */
  readonly endsWithConnection: boolean;
}

/** Answered by one of ours: the only calls whose answers come in batches. */
const REQUEST: CallKind = { nobody: (subject) => new NoResponderError(subject), endsWithConnection: false };

// `resolve` is a method so that calls of every type fit one table: each is resolved with what its own `take` gave.
interface Waiting<T> {
  readonly subject: string;
  readonly timeoutMs: number;
  readonly take: Take<T>;
  readonly kind: CallKind;
  resolve(value: T): void;
  reject(error: Error): void;
  deadlineMs: number;
}

export class RequestMux {
  readonly #connection: NatsConnection;
  readonly #clock: Clock;
  readonly #prefix: string;
  readonly #waiting = new Map<string, Waiting<unknown>>();
  readonly #subscription: Subscription;
  #next = 0;
  #sweep: TimerHandle | undefined;
  /** The connection is lost: the library would keep all that is published, without a bound, and drop it when it is back. */
  #isInterrupted = false;
  #isClosed = false;

  constructor(connection: NatsConnection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
    this.#prefix = `${createInbox()}.`;
    this.#subscription = connection.subscribe(`${this.#prefix}*`, {
      callback: (_error, message) => this.#onReply(message),
    });
  }

  /**
   * Publishes with a reply address and waits for the answer, or for several, as `take` decides; the time-out runs anew
   * after each of several. While the connection is lost nothing is sent, and the call waits for its time-out or its return.
   * @throws {NoResponderError} Nobody listens; or what `kind` makes of it.
   * @throws {BrokerUnavailableError} No answer in time, or not connected.
   * @throws {PayloadError} The message cannot be sent: too large, or malformed.
   * @throws {BusyError} Too many calls in flight.
   */
  call<T>(
    subject: string,
    data: Uint8Array,
    timeoutMs: number,
    take: Take<T>,
    headers?: MsgHdrs,
    kind: CallKind = REQUEST,
  ): Promise<T> {
    if (this.#isClosed) return Promise.reject(closedError(subject));
    if (this.#waiting.size >= MUX_LIMIT) {
      return Promise.reject(
        new BusyError(`${MUX_LIMIT} calls are in flight on this connection: wait for some to finish`),
      );
    }
    return new Promise<T>((resolve, reject) => {
      const id = BATCHABLE + (this.#next++).toString(36);
      const reply = this.#prefix + id;
      try {
        if (!this.#isInterrupted)
          this.#connection.publish(subject, data, headers === undefined ? { reply } : { reply, headers });
      } catch (cause) {
        reject(publishError(subject, cause));
        return;
      }
      const deadlineMs = this.#clock.monotonic() + timeoutMs;
      this.#waiting.set(id, { subject, timeoutMs, take, kind, resolve, reject, deadlineMs });
      this.#sweep ??= this.#clock.setTimeout(() => this.#expire(), SWEEP_MS);
    });
  }

  /** The connection was lost: answers that were under way may never come. */
  interrupt(): void {
    this.#isInterrupted = true;
    for (const [id, call] of this.#waiting) {
      if (!call.kind.endsWithConnection) continue;
      this.#waiting.delete(id);
      call.reject(new BrokerUnavailableError(`No answer from "${call.subject}": the connection was lost; ask again`));
    }
  }

  /** Requests whose receiver is gone: nobody will answer them any more. */
  giveUp(isGone: (subject: string) => boolean): void {
    for (const [id, call] of this.#waiting) {
      if (call.kind !== REQUEST || !isGone(call.subject)) continue;
      this.#waiting.delete(id);
      call.reject(new BrokerUnavailableError(`No answer from "${call.subject}": its receiver is gone; ask again`));
    }
  }

  /** The connection is back: what was under way before is answered by nobody any more, so callers need not wait it out. */
  resumed(): void {
    this.#isInterrupted = false;
    for (const [id, call] of this.#waiting) {
      this.#waiting.delete(id);
      call.reject(
        new BrokerUnavailableError(
          `No answer from "${call.subject}": the connection was lost meanwhile; look up the outcome`,
        ),
      );
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscription.unsubscribe();
    this.#clock.clearTimeout(this.#sweep);
    for (const call of this.#waiting.values()) {
      call.reject(
        new BrokerUnavailableError(
          `No answer from "${call.subject}": the connection was closed; connect anew and look up the outcome`,
        ),
      );
    }
    this.#waiting.clear();
  }

  #onReply(message: Msg): void {
    const id = message.subject.slice(this.#prefix.length);
    if (id === BATCHABLE) {
      this.#onBatch(message.data);
      return;
    }
    const call = this.#waiting.get(id);
    if (call === undefined) return; // late: its time-out has passed
    if (message.data.length === 0 && message.headers?.code === NO_RESPONDERS) {
      this.#waiting.delete(id);
      call.reject(call.kind.nobody(call.subject));
      return;
    }
    let value: unknown;
    try {
      value = call.take(message);
    } catch (error) {
      this.#waiting.delete(id);
      call.reject(error as Error);
      return;
    }
    if (value === undefined) {
      call.deadlineMs = this.#clock.monotonic() + call.timeoutMs;
      return;
    }
    this.#waiting.delete(id);
    call.resolve(value);
  }

  #onBatch(data: Uint8Array): void {
    try {
      takeApart(data, (id, answer) => {
        const call = this.#waiting.get(id);
        if (call?.kind !== REQUEST) return; // late, or no call of ours
        this.#waiting.delete(id);
        call.resolve(answer);
      });
    } catch (error) {
      if (!(error instanceof CorruptRecordError)) throw error; // not of a node: the calls it names, if any, end by their time-out
    }
  }

  #expire(): void {
    const now = this.#clock.monotonic();
    for (const [id, call] of this.#waiting) {
      if (call.deadlineMs > now) continue;
      this.#waiting.delete(id);
      call.reject(
        new BrokerUnavailableError(
          `No answer from "${call.subject}" within ${call.timeoutMs} ms: look up its outcome before you repeat it`,
        ),
      );
    }
    this.#sweep = this.#waiting.size > 0 ? this.#clock.setTimeout(() => this.#expire(), SWEEP_MS) : undefined;
  }
}

const closedError = (subject: string, options?: ErrorOptions): Error =>
  new BrokerUnavailableError(`"${subject}" cannot be reached: the connection is closed; connect anew`, options);

/** What the client library throws at a publish or subscribe, as the runtime's own error. */
export function publishError(subject: string, cause: unknown): Error {
  if (cause instanceof ClosedConnectionError || cause instanceof DrainingConnectionError) {
    return closedError(subject, { cause });
  }
  if (cause instanceof InvalidArgumentError && cause.message.includes("max_payload")) {
    return new PayloadError(`The message to "${subject}" is larger than the server takes: send less`, { cause });
  }
  if (cause instanceof InvalidArgumentError || cause instanceof InvalidSubjectError) {
    return new PayloadError(`The message to "${subject}" is malformed (${cause.message}): correct it`, { cause });
  }
  return cause as Error;
}
