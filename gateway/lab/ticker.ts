/** Something that happens again and again. Invariant: after `stop()` it does not happen any more. */
import type { Clock, TimerHandle } from "../../runtime/clock.ts";

export interface Ticker {
  stop(): void;
}

/** Calls `fn` now and then every `ms`. */
export function every(clock: Clock, ms: number, fn: () => void): Ticker {
  let handle: TimerHandle | undefined;
  const tick = (): void => {
    handle = clock.setTimeout(tick, ms);
    fn();
  };
  tick();
  return { stop: () => clock.clearTimeout(handle) };
}

/** Runs a plan: each step's `afterMs` counts from the step before. */
export function follow<T extends { readonly afterMs: number }>(
  clock: Clock,
  plan: Iterator<T, never>,
  fn: (step: T) => void,
): Ticker {
  let handle: TimerHandle | undefined;
  const arm = (): void => {
    const step = plan.next().value;
    handle = clock.setTimeout(() => {
      arm();
      fn(step);
    }, step.afterMs);
  };
  arm();
  return { stop: () => clock.clearTimeout(handle) };
}
