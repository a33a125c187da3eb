/** The followers and consumer shares of one simulated node. Invariant: they share the fate of its wire; one whose start got no answer is gone. */
import type { Subscription } from "./port.ts";

/** A follower or a share of a consumer, as the wire's fate touches it. */
export interface Reader {
  stop(): void;
  pause(): void;
  resume(): void;
}

export class MemoryReaders {
  readonly #live = new Set<Reader>();

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
      });
    } catch (error) {
      unsubscribe();
      throw error;
    }
    return { unsubscribe };
  }

  pause(): void {
    for (const reader of this.#live) reader.pause();
  }

  resume(): void {
    for (const reader of this.#live) reader.resume();
  }

  stop(): void {
    for (const reader of this.#live) reader.stop();
    this.#live.clear();
  }
}
