/**
 * The one owner of fake time. Invariant: time moves only inside {@link SimClock.advance} and {@link SimClock.advanceAsync};
 * timers fire in order of their due time, those due together in the order they were set; one seed gives one run.
 */
import type { Clock, TimerHandle } from "../clock.ts";
import { TimeHeap } from "../port-memory-heap.ts";

/** 2026-01-01T00:00:00Z: a round, recognisable start of the world. */
export const SIM_EPOCH_MS = 1_767_225_600_000;
/** Timers that one advance may fire. More is a timer that sets itself again without time passing. */
export const MAX_TIMERS_PER_ADVANCE = 5_000_000;

export interface SimClockOptions {
  /** Same seed, same run. Print it when a simulation fails. */
  readonly seed?: number;
  readonly startMs?: number;
}

interface SimTimer {
  readonly fn: () => void;
  live: boolean;
}

export class SimClock implements Clock {
  readonly seed: number;
  readonly #startMs: number;
  readonly #timers = new TimeHeap<SimTimer>();
  #elapsedMs = 0;
  #live = 0;
  #state: number;

  constructor(options: SimClockOptions = {}) {
    this.seed = options.seed ?? 1;
    this.#startMs = options.startMs ?? SIM_EPOCH_MS;
    this.#state = this.seed >>> 0;
  }

  now(): number {
    return this.#startMs + this.#elapsedMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    const timer: SimTimer = { fn, live: true };
    this.#live += 1;
    this.#timers.add(this.#elapsedMs + Math.max(0, delayMs), timer);
    return timer;
  }

  clearTimeout(handle: TimerHandle | undefined): void {
    const timer = handle as SimTimer | undefined;
    if (timer === undefined || !timer.live) return;
    timer.live = false;
    this.#live -= 1;
  }

  randomId(bytes: number): string {
    let hex = "";
    for (let i = 0; i < bytes; i += 1)
      hex += Math.floor(this.random() * 256)
        .toString(16)
        .padStart(2, "0");
    return hex;
  }

  /** Mulberry32: 32 bits of state are plenty for a test, and the seed is the whole state. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#live;
  }

  /** In how many ms the next timer is due, or undefined when none waits. */
  nextInMs(): number | undefined {
    const dueMs = this.#nextDueMs();
    return dueMs === undefined ? undefined : Math.max(0, dueMs - this.#elapsedMs);
  }

  /** Moves time by `ms` and fires what is due, without letting promises settle in between. */
  advance(ms: number): void {
    const untilMs = this.#elapsedMs + ms;
    for (let fired = 0; this.#fireNext(untilMs); fired += 1) refuseEndless(fired);
    this.#elapsedMs = untilMs;
  }

  /** As {@link advance}, and lets all promises settle before the first timer, between timers and after the last. */
  async advanceAsync(ms: number): Promise<void> {
    const untilMs = this.#elapsedMs + ms;
    await turn();
    for (let fired = 0; this.#fireNext(untilMs); fired += 1) {
      refuseEndless(fired);
      await settlePromises();
    }
    this.#elapsedMs = untilMs;
  }

  #nextDueMs(): number | undefined {
    for (;;) {
      const first = this.#timers.first;
      if (first === undefined || first.item.live) return first?.atMs;
      this.#timers.take(first.atMs); // cleared since
    }
  }

  #fireNext(untilMs: number): boolean {
    const dueMs = this.#nextDueMs();
    if (dueMs === undefined || dueMs > untilMs) return false;
    const timer = this.#timers.take(dueMs);
    if (timer === undefined) return false;
    this.#elapsedMs = Math.max(this.#elapsedMs, dueMs);
    timer.live = false;
    this.#live -= 1;
    timer.fn();
    return true;
  }
}

/** Resolves once no promise that can settle without I/O or time is left. */
export function settlePromises(): Promise<void> {
  return new Promise((resolve) => {
    // A tick that a microtask asks for comes when none is left, and costs a tenth of a turn of the event loop.
    queueMicrotask(() => process.nextTick(resolve));
  });
}

/** A turn of the event loop, where the process reports rejections that nobody handles and others get their time. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function refuseEndless(fired: number): void {
  if (fired < MAX_TIMERS_PER_ADVANCE) return;
  throw new RangeError(`One advance fired ${fired} timers: a timer sets itself again with no delay; give it one`);
}
