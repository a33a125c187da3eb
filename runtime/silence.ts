/**
 * Who is silent: members whose renewals stay away while our own come by. Invariant: only our own renewals, seen in the one order
 * of the stream, are the clock: a stalled observer, an outage or a jump of any wall clock accuses nobody.
 */
import { LEASE_MISSED_RENEWALS } from "./limits.ts";

export class Silence {
  readonly #me: string;
  /** Renewals of ours since the member's last. */
  readonly #missed = new Map<string, number>();

  constructor(me: string) {
    this.#me = me;
  }

  /** A renewal came by. Returns who is silent now: again at each renewal of ours, until forgotten. */
  hear(key: string): string[] {
    if (key !== this.#me) {
      this.#missed.set(key, 0);
      return [];
    }
    const silent: string[] = [];
    for (const [other, missed] of this.#missed) {
      this.#missed.set(other, missed + 1);
      if (missed + 1 >= LEASE_MISSED_RENEWALS) silent.push(other);
    }
    return silent;
  }

  forget(key: string): void {
    this.#missed.delete(key);
  }
}
