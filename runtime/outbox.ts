/**
 * Delivery of actors' messages. Invariant: per pair of sender and receiver one message is under way, in the order of its
 * numbers, repeated under the same number until the receiver has committed or finally refused it. Pools take theirs alike, those of
 * each order key of a sender apart.
 */
import type { Activation } from "./activation.ts";
import type { Outgoing } from "./actor-state.ts";
import { addressOf } from "./address.ts";
import type { Clock } from "./clock.ts";
import { POOL_PREFIX } from "./effects.ts";
import { ACCEPTED, decodeAnswer, encodeInput, Tag } from "./envelope.ts";
import { TroupeError } from "./errors.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./limits.ts";

export interface OutboxDeps {
  readonly clock: Clock;
  /** False without a lease: nothing leaves. */
  readonly mayAct: () => boolean;
  /** Resolves with the receiver's answer. @throws A retryable error when there is none. */
  readonly deliver: (
    kind: string,
    id: string,
    body: Uint8Array,
    onAnswer: (answer: Uint8Array | TroupeError) => void,
  ) => void;
  readonly publish: (pool: string, sender: Activation, message: Outgoing) => Promise<void>;
  readonly onSettled: (activation: Activation) => void;
  readonly onRefused: (activation: Activation, message: Outgoing, error: TroupeError) => void;
}

interface Pair {
  readonly activation: Activation;
  readonly to: string;
  queue: Outgoing[];
  pauseMs: number;
}

export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #pairs = new Map<string, Pair>();

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
  }

  /** Sends what is committed and not yet under way. */
  pump(activation: Activation): void {
    if (activation.sentSeq >= activation.releasableSeq) return;
    for (const message of activation.state.outbox.values()) {
      if (message.seq <= activation.sentSeq) continue;
      if (message.seq > activation.releasableSeq) break;
      this.#enqueue(activation, message);
    }
    activation.sentSeq = activation.releasableSeq;
  }

  #enqueue(activation: Activation, message: Outgoing): void {
    const key = `${activation.key}>${message.to}${orderKeyOf(message)}`;
    const pair = this.#pairs.get(key);
    if (pair?.activation === activation) {
      pair.queue.push(message);
      return;
    }
    const started: Pair = { activation, to: message.to, queue: [message], pauseMs: RETRY_MIN_MS };
    this.#pairs.set(key, started);
    this.#sendHead(key, started);
  }

  #sendHead(key: string, pair: Pair): void {
    const message = pair.queue[0];
    if (message === undefined || pair.activation.phase === "gone") {
      if (this.#pairs.get(key) === pair) this.#pairs.delete(key);
      return;
    }
    if (!this.#deps.mayAct()) {
      this.#sendLater(key, pair);
      return;
    }
    if (pair.to.startsWith(POOL_PREFIX)) {
      void this.#publish(pair, message).then((answer) => this.#onAnswer(key, pair, message, answer));
      return;
    }
    const { kind, id } = addressOf(pair.to);
    const { seq, lane, event, chain = [] } = message;
    const body = encodeInput({
      tag: Tag.Tell,
      sender: pair.activation.key,
      seq,
      low: seq,
      ttlMs: 0,
      lane,
      event,
      chain,
    });
    this.#deps.deliver(kind, id, body, (answer) => this.#onAnswer(key, pair, message, answer));
  }

  #sendLater(key: string, pair: Pair): void {
    const pause = pair.pauseMs * (0.5 + this.#deps.clock.random());
    pair.pauseMs = Math.min(2 * pair.pauseMs, RETRY_MAX_MS);
    this.#deps.clock.setTimeout(() => this.#sendHead(key, pair), pause);
  }

  async #publish(pair: Pair, message: Outgoing): Promise<Uint8Array | TroupeError> {
    try {
      await this.#deps.publish(pair.to.slice(POOL_PREFIX.length), pair.activation, message);
      return ACCEPTED;
    } catch (error) {
      return asTroupeError(error);
    }
  }

  #onAnswer(key: string, pair: Pair, message: Outgoing, answer: Uint8Array | TroupeError): void {
    const error = answer instanceof TroupeError ? answer : errorIn(answer);
    if (error?.retryable === true) {
      this.#sendLater(key, pair);
      return;
    }
    pair.pauseMs = RETRY_MIN_MS;
    pair.queue.shift();
    const { state } = pair.activation;
    if (state.outbox.delete(message.seq)) state.extraBytes -= message.bytes;
    // A poison message is in the receiver's dead letters already.
    if (error !== undefined && error.code !== "POISON_MESSAGE") this.#deps.onRefused(pair.activation, message, error);
    this.#deps.onSettled(pair.activation);
    this.#sendHead(key, pair);
  }
}

/** Tells a sender's lines into one pool apart. */
function orderKeyOf({ to, event }: Outgoing): string {
  const key = to.startsWith(POOL_PREFIX) ? event["orderKey"] : undefined;
  return typeof key === "string" ? `>${key}` : "";
}

function errorIn(answer: Uint8Array): TroupeError | undefined {
  if (answer === ACCEPTED) return undefined;
  try {
    decodeAnswer(answer);
    return undefined;
  } catch (error) {
    return asTroupeError(error);
  }
}

function asTroupeError(error: unknown): TroupeError {
  if (error instanceof TroupeError) return error;
  throw error; // a defect: never taken for a refusal
}
