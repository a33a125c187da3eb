/** Time and chance in this layer, which may not import the runtime's clock. Invariant: no other file of `nats-config` waits, reads a clock or draws a number. */
import { randomBytes, randomInt } from "node:crypto";
import { scheduler } from "node:timers/promises";

/** Resolves after `delayMs`, or rejects with an AbortError once `signal` fires. */
export async function pause(delayMs: number, signal?: AbortSignal): Promise<void> {
  await scheduler.wait(delayMs, signal === undefined ? {} : { signal });
}

export interface Deadline {
  readonly expired: boolean;
  /** Ms left, 0 at least. */
  readonly leftMs: number;
}

/** A monotonic deadline `durationMs` from now. */
export function deadlineIn(durationMs: number): Deadline {
  const endMs = performance.now() + durationMs;
  return {
    get leftMs() {
      return Math.max(0, endMs - performance.now());
    },
    get expired() {
      return performance.now() >= endMs;
    },
  };
}

/** Monotonic ms between now and the call of `stopwatch()`. */
export function stopwatch(): () => number {
  const startMs = performance.now();
  return () => performance.now() - startMs;
}

/** `bytes` random bytes as lower-case hex. */
export function randomId(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}

/** A random whole number, `first` included and `end` not. */
export function randomBetween(first: number, end: number): number {
  return randomInt(first, end);
}
