/**
 * The bounded queue of one activation: four lanes, first come first served within one. Invariant: nothing waits for ever,
 * since a letter climbs one lane for each {@link LANE_AGEING_MS} it has waited.
 */
import { BusyError } from "./errors.ts";
import { type Input, isMessage } from "./envelope.ts";
import { LANE_AGEING_MS, MAILBOX_LIMIT } from "./limits.ts";
import { PRIORITIES } from "./priority.ts";

/** A message on its way into an actor. */
export interface Letter {
  readonly input: Input;
  /** The encoded input, owned by the letter: it goes into the journal as it is. */
  readonly body: Uint8Array;
  /** Monotonic ms. */
  readonly arrivedAtMs: number;
  /** Carries the answer to whoever sent it; called once, after the commit. */
  readonly respond: (answer: Uint8Array) => void;
}

class Lane {
  #letters: Letter[] = [];
  #head = 0;

  get size(): number {
    return this.#letters.length - this.#head;
  }

  peek(): Letter | undefined {
    return this.#letters[this.#head];
  }

  push(letter: Letter): void {
    this.#letters.push(letter);
  }

  shift(): Letter | undefined {
    const letter = this.#letters[this.#head];
    if (letter === undefined) return undefined;
    this.#head++;
    if (this.#head === this.#letters.length) {
      this.#letters = [];
      this.#head = 0;
    }
    return letter;
  }
}

export class Mailbox {
  readonly #lanes = PRIORITIES.map(() => new Lane());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** @throws {BusyError} The mailbox is full. Timers and results of the actor's own always fit: they are bounded elsewhere. */
  push(letter: Letter): void {
    if (this.#size >= MAILBOX_LIMIT && isMessage(letter.input.tag)) {
      throw new BusyError(`The mailbox holds ${MAILBOX_LIMIT} messages: try again later`);
    }
    (this.#lanes[letter.input.lane] as Lane).push(letter);
    this.#size++;
  }

  /** The next letter by lane and age, or undefined. `nowMs` is monotonic. */
  shift(nowMs: number): Letter | undefined {
    let best: Lane | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    for (const [rank, lane] of this.#lanes.entries()) {
      const head = lane.peek();
      if (head === undefined) continue;
      const aged = rank - Math.floor((nowMs - head.arrivedAtMs) / LANE_AGEING_MS);
      if (aged >= bestRank) continue;
      best = lane;
      bestRank = aged;
    }
    const letter = best?.shift();
    if (letter !== undefined) this.#size--;
    return letter;
  }

  /** Takes all letters out, in the order in which they would have been served now. */
  drain(nowMs: number): Letter[] {
    const letters: Letter[] = [];
    for (let next = this.shift(nowMs); next !== undefined; next = this.shift(nowMs)) letters.push(next);
    return letters;
  }
}
