/** Chance that can be repeated. Invariant: the same seed and name give the same draws in the same order, on any machine. */
import { fnv1a } from "../../runtime/address.ts";

export interface Chance {
  /** Uniform in [0, 1). */
  next(): number;
  /** Whole number in [low, high]. */
  whole(low: number, high: number): number;
  /** One of a non-empty list. */
  pick<T>(list: readonly [T, ...T[]]): T;
}

/** Draws for one purpose: `name` keeps the purposes apart, so that a new one does not shift the others. */
export function seededChance(seed: number, name: string): Chance {
  let state = (fnv1a(name) ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
  // Mulberry32: 32 bits of state are plenty to pick which screen goes black.
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const whole = (low: number, high: number): number => low + Math.floor(next() * (high - low + 1));
  return { next, whole, pick: (list) => list[whole(0, list.length - 1)] ?? list[0] };
}
