/**
 * Who is served next when rounds are full or actors are loading. Invariant: round-robin over the actors that wait, one letter
 * each, so a busy actor cannot starve the others; what waits is counted in letters and bytes.
 */
import type { Activation } from "./activation.ts";
import type { Clock } from "./clock.ts";
import { LETTER_BYTES, NODE_QUEUE_BYTES } from "./limits.ts";
import type { Letter } from "./mailbox.ts";

export class Scheduler {
  readonly #clock: Clock;
  readonly #hasRoom: () => boolean;
  readonly #apply: (activation: Activation, letter: Letter) => void;
  #runnable: Activation[] = [];
  #bytes = 0;
  letters = 0;

  constructor(options: {
    clock: Clock;
    hasRoom: () => boolean;
    apply: (activation: Activation, letter: Letter) => void;
  }) {
    this.#clock = options.clock;
    this.#hasRoom = options.hasRoom;
    this.#apply = options.apply;
  }

  get isFull(): boolean {
    return this.#bytes > NODE_QUEUE_BYTES;
  }

  /** Applies at once when nothing is before it, else queues. @throws {BusyError} The mailbox is full. */
  offer(activation: Activation, letter: Letter): void {
    if (activation.phase === "live" && activation.mailbox.size === 0 && this.#hasRoom()) {
      this.#apply(activation, letter);
      return;
    }
    activation.mailbox.push(letter);
    this.letters++;
    this.#bytes += letter.body.length + LETTER_BYTES;
    this.markRunnable(activation);
  }

  markRunnable(activation: Activation): void {
    if (activation.queued || activation.phase !== "live" || activation.mailbox.size === 0) return;
    activation.queued = true;
    this.#runnable.push(activation);
  }

  /** Serves while the open round has room. */
  serve(): void {
    const now = this.#clock.monotonic();
    while (this.#runnable.length > 0 && this.#hasRoom()) {
      const turn = this.#runnable;
      this.#runnable = [];
      for (const [index, activation] of turn.entries()) {
        if (!this.#hasRoom()) {
          this.#runnable.push(...turn.slice(index));
          break;
        }
        activation.queued = false;
        this.#serveOne(activation, now);
        this.markRunnable(activation);
      }
    }
  }

  /** Takes all waiting letters of an actor out. */
  drain(activation: Activation): Letter[] {
    const letters = activation.mailbox.drain(this.#clock.monotonic());
    for (const letter of letters) this.#forget(letter);
    return letters;
  }

  #serveOne(activation: Activation, now: number): void {
    const letter = activation.phase === "live" ? activation.mailbox.shift(now) : undefined;
    if (letter === undefined) return;
    this.#forget(letter);
    const { ttlMs } = letter.input;
    if (ttlMs === 0 || now - letter.arrivedAtMs < ttlMs) this.#apply(activation, letter); // past it the sender has given up
  }

  #forget(letter: Letter): void {
    this.letters--;
    this.#bytes -= letter.body.length + LETTER_BYTES;
  }
}
