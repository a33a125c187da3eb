/**
 * Numbered calls of one client. Invariant: a call is repeated under its number until it is answered or its deadline passes;
 * `low` is below every number that may still be repeated, so receivers may forget all before it.
 */
import type { Names } from "../nats-config/subjects.ts";
import { checkAddress, keyOf, shardOf } from "./address.ts";
import type { CallOptions, KindOf } from "./api.ts";
import { type Clock, sleep } from "./clock.ts";
import { decodeAnswer, encodeInput, type EventLike, type Tag } from "./envelope.ts";
import {
  AbortedError,
  BusyError,
  DeadlineError,
  HostOfflineError,
  PayloadError,
  StreamFullError,
  TroupeError,
} from "./errors.ts";
import { type Shard, shardOfKey } from "./families.ts";
import {
  ATTEMPT_TIMEOUT_MS,
  CALL_RETRY_MAX_MS,
  CLIENT_MAX_IN_FLIGHT,
  DEFAULT_DEADLINE_MS,
  MAX_DEADLINE_MS,
  RETRY_MIN_MS,
} from "./limits.ts";
import { currentChain } from "./invocation-scope.ts";
import type { Broker } from "./port.ts";
import { isPriority, priorityRank } from "./priority.ts";

/** An actor, and the lane on which it is reached. */
export interface Target {
  readonly lane: "act" | "query" | "control";
  readonly kind: KindOf;
  readonly id: string;
}

export class Calls {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #names: Names;
  readonly #shards: number;
  /** The client's session: no slash, so it is never taken for an actor. */
  readonly session: string;
  /** By receiver: `low` says what is settled with that receiver, so a call that hangs elsewhere keeps nothing unsettled here. */
  readonly #open = new Map<string, number[]>();
  /** Callers between two attempts, by what they wait for. */
  readonly #pausing = new Map<AbortController, string>();
  #inFlight = 0;
  #next = 1;

  constructor(broker: Broker, clock: Clock, names: Names, shards: number) {
    this.#broker = broker;
    this.#clock = clock;
    this.#names = names;
    this.#shards = shards;
    this.session = `client-${clock.randomId(8)}`;
  }

  /** @throws {AddressError} */
  subjectOf({ lane, kind, id }: Target): string {
    const name = nameOf(kind);
    checkAddress(name, id);
    return this.#names[lane](shardOf(name, id, this.#shards), name, id);
  }

  /** Rejects with what {@link Client.tell} names. */
  send(target: Target, tag: Tag, event: EventLike, options?: CallOptions): Promise<unknown> {
    try {
      return this.#send(target, tag, event, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #send(target: Target, tag: Tag, event: EventLike, options: CallOptions = {}): Promise<unknown> {
    const subject = this.subjectOf(target);
    const ttlMs = checkDeadline(options.deadlineMs);
    const lane = checkLane(options.priority);
    if (this.#inFlight >= CLIENT_MAX_IN_FLIGHT)
      throw new BusyError(`${CLIENT_MAX_IN_FLIGHT} calls are in flight: wait for some to finish`);
    const receiver = keyOf(nameOf(target.kind), target.id);
    const number = this.#next++;
    const open = this.#begin(receiver, number);
    const end = () => this.#end(receiver, open, number);
    try {
      const lowest = open[0] as number; // ascending
      const { sender, seq, low } = options.from ?? { sender: this.session, seq: number, low: lowest };
      const body = encodeInput({ tag, sender, seq, low, ttlMs, lane, event, chain: currentChain() });
      return this.exchange(subject, body, ttlMs, options.signal, end);
    } catch (error) {
      end();
      throw error;
    }
  }

  #end(receiver: string, open: number[], number: number): void {
    this.#inFlight--;
    if (open.length === 1) this.#open.delete(receiver);
    else open.splice(open.indexOf(number), 1);
  }

  #begin(receiver: string, seq: number): number[] {
    this.#inFlight++;
    let open = this.#open.get(receiver);
    if (open === undefined) this.#open.set(receiver, (open = [seq]));
    else open.push(seq);
    return open;
  }

  /**
   * Repeats one request until an answer that is final, or the deadline; tells `onSettled` when it is over.
   * @throws {BusyError} {@link StreamFullError} Every attempt until the deadline was refused so: nothing was taken.
   * @throws {DeadlineError} Some attempt was not answered: the outcome is unknown.
   */
  async exchange(
    subject: string,
    body: Uint8Array,
    deadlineMs: number,
    signal?: AbortSignal,
    onSettled?: () => void,
  ): Promise<unknown> {
    const endAt = this.#clock.monotonic() + deadlineMs;
    let left = deadlineMs;
    let lastError: TroupeError | undefined;
    let isKnown = true; // every attempt was answered with a refusal
    try {
      for (let pause = RETRY_MIN_MS; ; pause = Math.min(2 * pause, CALL_RETRY_MAX_MS)) {
        if (signal?.aborted) throw aborted(signal);
        if (left <= 0) throw isKnown && lastError !== undefined ? lastError : overdue(subject, deadlineMs, lastError);
        try {
          const attempt = this.#broker.request(subject, body, Math.ceil(Math.min(left, ATTEMPT_TIMEOUT_MS)));
          return decodeAnswer(await (signal === undefined ? attempt : orAborted(attempt, signal)));
        } catch (error) {
          // A deadline that the receiver reports is the end of this number: only a new one can be taken.
          // A host that is offline comes back in its own time: the caller decides whether to wait.
          const isFinal = error instanceof DeadlineError || error instanceof HostOfflineError;
          if (!(error instanceof TroupeError && error.retryable) || isFinal) throw error;
          lastError = error;
          isKnown &&= error instanceof BusyError || error instanceof StreamFullError;
        }
        const rest = Math.max(0, endAt - this.#clock.monotonic());
        await this.#pause(subject, Math.min(pause * (0.5 + this.#clock.random()), rest), signal);
        left = endAt - this.#clock.monotonic();
      }
    } finally {
      onSettled?.();
    }
  }

  /** These shards have a new owner, which serves: nobody waits any longer for what the former one was asked. */
  opened(shards: ReadonlySet<Shard>): void {
    const isOpened = (subject: string) => {
      const receiver = receiverOf(subject);
      const dot = receiver.indexOf(".");
      return dot > 0 && shards.has(shardOfKey(receiver.slice(0, dot)));
    };
    this.#broker.giveUp(isOpened);
    for (const [controller, subject] of this.#pausing) if (isOpened(subject)) controller.abort();
  }

  /** Waits until the next attempt is due; at once when the receiver has a new owner. */
  async #pause(subject: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
    const early = new AbortController();
    this.#pausing.set(early, subject);
    try {
      await sleep(this.#clock, ms, signal === undefined ? early.signal : AbortSignal.any([early.signal, signal]));
    } catch (reason) {
      if (signal?.aborted) throw aborted(signal);
      if (!early.signal.aborted) throw reason;
    } finally {
      this.#pausing.delete(early);
    }
  }
}

const nameOf = (kind: KindOf): string => (typeof kind === "string" ? kind : kind.kind);

/** `<shard>.<kind>.<id>`: messages and control reach the same actor by two lanes, `<ns>.<lane>.` */
function receiverOf(subject: string): string {
  return subject.slice(subject.indexOf(".", subject.indexOf(".") + 1) + 1);
}

/** @throws {PayloadError} Not a number of ms between 1 and {@link MAX_DEADLINE_MS}. */
export function checkDeadline(deadlineMs = DEFAULT_DEADLINE_MS): number {
  if (!(deadlineMs >= 1 && deadlineMs <= MAX_DEADLINE_MS)) {
    throw new PayloadError(`The deadline ${JSON.stringify(deadlineMs)} is not valid: give 1 to ${MAX_DEADLINE_MS} ms`);
  }
  return Math.ceil(deadlineMs);
}

function checkLane(priority: unknown = "normal"): number {
  if (!isPriority(priority))
    throw new PayloadError(`The priority ${JSON.stringify(priority)} is not known: use critical, high, normal or low`);
  return priorityRank(priority);
}

function overdue(subject: string, deadlineMs: number, last: TroupeError | undefined): DeadlineError {
  const why = last === undefined ? "" : `; last: ${last.message}`;
  return new DeadlineError(`No answer from "${subject}" within ${deadlineMs} ms${why}`);
}

function aborted(signal: AbortSignal): AbortedError {
  return new AbortedError("The call was aborted by its signal; the message may still take effect", {
    cause: signal.reason,
  });
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  const stop = new Promise<never>((_, reject) => {
    onAbort = () => reject(aborted(signal));
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, stop]);
  } finally {
    signal.removeEventListener("abort", onAbort as () => void);
  }
}
