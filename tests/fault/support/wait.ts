/** Waiting for conditions. Invariant: every wait has a deadline, and its error says what did not come. */
import { setTimeout as delay } from "node:timers/promises";

/** Pause between two looks at a condition, in ms. */
const LOOK_EVERY_MS = 20;

/** Resolves with the first value that is neither undefined nor false. @throws Not within `deadlineMs`. */
export async function until<T>(
  what: string,
  deadlineMs: number,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const endAt = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endAt) throw new Error(`Waited ${deadlineMs} ms in vain: ${what}`);
    await delay(LOOK_EVERY_MS);
  }
}

/** The moment of a fault is part of the fault: `ms` comes from the seed. */
export const pass = (ms: number): Promise<void> => delay(ms);
