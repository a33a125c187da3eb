/** The followers and consumer shares of one simulated node. Invariant: they share the fate of its wire; one whose start got no answer is gone. */
import type { Clock, TimerHandle } from "./clock.ts";
import type { Subscription } from "./port.ts";
import { type Latency, NO_LATENCY } from "./port-memory-link.ts";

/** A follower or a share of a consumer, as the wire's fate touches it. */
export interface Reader {
  stop(): void;
  pause(): void;
  resume(): void;
}

export class MemoryReaders {
  readonly #clock: Clock;
  readonly #backMs: Latency;
  readonly #live = new Set<Reader>();
  #resuming: TimerHandle | undefined;
  #isPaused = false;

  /** `backMs`: how long after the wire they are back, drawn by the clock's chance. */
  constructor(clock: Clock, backMs: Latency = NO_LATENCY) {
    this.#clock = clock;
    this.#backMs = backMs;
  }

  /** Runs `start` at the server through `ask`, which fails when no answer comes. */
  async open(ask: (serve: () => void) => Promise<void>, start: () => Reader): Promise<Subscription> {
    let reader: Reader | undefined;
    const unsubscribe = () => {
      reader?.stop();
      if (reader !== undefined) this.#live.delete(reader);
    };
    try {
      await ask(() => {
        reader = start();
        this.#live.add(reader);
        if (this.#isPaused) reader.pause(); // asked for while only the way to the server stood
      });
    } catch (error) {
      unsubscribe();
      throw error;
    }
    return { unsubscribe };
  }

  pause(): void {
    this.#isPaused = true;
    this.#clock.clearTimeout(this.#resuming);
    for (const reader of this.#live) reader.pause();
  }

  /** Subscriptions are back with the wire; what follows a stream is set up anew by the server, and that may take its time. */
  resume(): void {
    const { min, max } = this.#backMs;
    const resume = () => {
      this.#isPaused = false;
      for (const reader of this.#live) reader.resume();
    };
    if (max <= 0) resume();
    else this.#resuming = this.#clock.setTimeout(resume, min + Math.floor(this.#clock.random() * (max - min + 1)));
  }

  stop(): void {
    this.#clock.clearTimeout(this.#resuming);
    for (const reader of this.#live) reader.stop();
    this.#live.clear();
  }
}
