/** The only door to time and chance. Invariant: no other file of the product reads the clock, sets a timer or draws a random number. */
import { randomBytes } from "node:crypto";

export type TimerHandle = { readonly brand: "TimerHandle" } | object;

export interface Clock {
  /** Wall time in ms since 1970. May jump; never used to decide who owns what. */
  now(): number;
  /** Monotonic ms. Never jumps; not comparable between processes. */
  monotonic(): number;
  setTimeout(fn: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle | undefined): void;
  /** `bytes` random bytes as lower-case hex. */
  randomId(bytes: number): string;
  /** Uniform in [0, 1). For jitter only. */
  random(): number;
}

/** Longest delay a host timer takes, in ms; longer ones are cut into pieces by the caller. */
export const MAX_TIMEOUT_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, Math.min(Math.max(0, delayMs), MAX_TIMEOUT_MS)),
  clearTimeout: (handle) => {
    if (handle !== undefined) clearTimeout(handle as NodeJS.Timeout);
  },
  randomId: (bytes) => randomBytes(bytes).toString("hex"),
  random: () => Math.random(),
};

/**
 * The time of one incarnation: the wall's as it begins, counted on by the monotonic clock. A jump of the wall, either way, neither
 * fires a timer early or late nor ages what is measured in the inputs' time; the next incarnation sees it.
 */
export function steadyClock(clock: Clock): Clock {
  const offsetMs = clock.now() - clock.monotonic();
  return {
    now: () => Math.floor(offsetMs + clock.monotonic()),
    monotonic: () => clock.monotonic(),
    setTimeout: (fn, delayMs) => clock.setTimeout(fn, delayMs),
    clearTimeout: (handle) => clock.clearTimeout(handle),
    randomId: (bytes) => clock.randomId(bytes),
    random: () => clock.random(),
  };
}

/** Resolves after `delayMs`, or rejects with the signal's reason. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = () => {
      clock.clearTimeout(handle);
      reject(signal?.reason as Error);
    };
    const handle = clock.setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
