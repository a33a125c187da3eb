/**
 * Messages that could not be processed, with their cause, for a person to see. Invariant: what is handed in is stored or
 * still being tried; a repeated hand-in (recovery) is stored once within the stream's duplicate window.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { type Clock, sleep } from "./clock.ts";
import { encode } from "./codec.ts";
import { TroupeError } from "./errors.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./limits.ts";
import type { Broker } from "./port.ts";

export interface DeadMessage {
  /** One subject token: `poison`, `refused`, `malformed`. */
  readonly reason: string;
  readonly kind: string;
  readonly id: string;
  readonly cause: string;
  readonly timeMs: number;
  readonly sender: string;
  readonly event: unknown;
  /** Number of the poison input in the actor's life: with its key, the name of the letter. */
  readonly revision?: number;
  /** What it was poison to, when supervision replaced it. */
  readonly state?: unknown;
  /** Stable id, so that a repetition is dropped. */
  readonly messageId: string;
}

/** What became of a letter that somebody saw to. */
export interface DeadMark {
  readonly verb: "retried" | "skipped";
  readonly by: string;
  readonly why: string;
  readonly timeMs: number;
  /** The event was changed before it was tried again. */
  readonly isEdited: boolean;
  /** `poison`: it failed again, and lies here as a new letter. */
  readonly outcome: "applied" | "poison" | "dropped";
}

/** Letters on their way at most: a node whose dead letters cannot be stored stops taking what makes more of them. */
export const DEAD_LETTERS_IN_FLIGHT = 10_000;

export class DeadLetters {
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #closed: AbortSignal;
  #inFlight = 0;

  constructor(options: { broker: Broker; names: Names; clock: Clock; log: Logger; closed: AbortSignal }) {
    this.#broker = options.broker;
    this.#names = options.names;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#closed = options.closed;
  }

  get isFull(): boolean {
    return this.#inFlight >= DEAD_LETTERS_IN_FLIGHT;
  }

  /** Resolves with true when the letter is stored, or can never be; with false when the node closed before. Never rejects. */
  async add(message: DeadMessage): Promise<boolean> {
    this.#log.error(
      { actor: `${message.kind}/${message.id}`, reason: message.reason, cause: message.cause },
      "Message went to the dead letters",
    );
    const { messageId, ...letter } = message;
    return await this.#store(this.#names.dead(message.reason, message.kind, message.id), encode(letter), messageId);
  }

  /** As {@link add}: a mark for the letter of this number in the stream. */
  async mark(letter: number, mark: DeadMark): Promise<boolean> {
    this.#log.info({ letter, ...mark }, "Dead letter was seen to");
    return await this.#store(this.#names.deadMark(letter), encode(mark), `mark:${letter}`);
  }

  async #store(subject: string, data: Uint8Array, messageId: string): Promise<boolean> {
    this.#inFlight++;
    return await this.#tryToStore(subject, data, messageId).finally(() => this.#inFlight--);
  }

  async #tryToStore(subject: string, data: Uint8Array, messageId: string): Promise<boolean> {
    for (let pause = RETRY_MIN_MS; !this.#closed.aborted; pause = Math.min(2 * pause, RETRY_MAX_MS)) {
      try {
        await this.#broker.append(subject, data, { messageId });
        return true;
      } catch (error) {
        if (!(error instanceof TroupeError && error.retryable)) {
          this.#log.error({ err: error, subject }, "Dead letter cannot be stored");
          return true;
        }
        // When the node closes meanwhile, the next owner replays the poison input and hands it in again: no snapshot covers it.
        await sleep(this.#clock, pause, this.#closed).catch(() => undefined);
      }
    }
    return false;
  }
}
