/** Seeded chance for fault runs. Invariant: the same seed gives the same decisions, in the same order, for each named stream. */
import { fnv1a } from "../../../runtime/address.ts";

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A whole number in [from, to). */
  int(from: number, to: number): number;
  pick<T>(items: readonly T[]): T;
  /** An independent stream, so that one workload's draws do not shift another's. */
  fork(name: string): Random;
}

/** Mulberry32 (Tommy Ettinger, public domain): 32 bits of state are plenty for a few thousand decisions. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    int: (from, to) => from + Math.floor(next() * (to - from)),
    pick: (items) => {
      const item = items[Math.floor(next() * items.length)];
      if (item === undefined) throw new RangeError("Nothing to pick from: give at least one item");
      return item;
    },
    fork: (name) => seeded(fnv1a(`${name}:${seed}`)),
  };
}

/** The run's seed: `FAULT_SEED` repeats a run, else a new one. */
export function seedOfRun(): number {
  const given = Number(process.env["FAULT_SEED"]);
  return Number.isSafeInteger(given) && given > 0 ? given : Date.now() % 1_000_000;
}
