/**
 * How a node is. Invariant: what was not measured is null, never 0; a figure is of the span that ended at its time. It is told to
 * who asks and written nowhere: health costs the hot path two counters.
 */
import type { Clock, TimerHandle } from "./clock.ts";

export interface Health {
  /** End of the span, by the node's wall clock in ms since 1970. */
  readonly measuredAtMs: number;
  /** Processor time of the process, in processors: 1 is one of them all the time. */
  readonly cpu: number;
  /** Longest lateness of a timer in the span, in ms: so long the node answered nobody. */
  readonly loopDelayMs: number;
  /** Share of the span's inputs whose transition threw; null without inputs. */
  readonly errorRate: number | null;
}

/** Span of one measurement, in ms. */
export const HEALTH_EVERY_MS = 1_000;
/** Between two looks at the event loop, in ms: a shorter stall may be missed. */
const LOOK_EVERY_MS = 100;

/** Counters of the node since its start. */
export interface HealthCounts {
  readonly inputs: number;
  readonly poisons: number;
}

interface Mark extends HealthCounts {
  readonly atMs: number;
  readonly cpuMs: number;
}

export class HealthMeter {
  readonly #clock: Clock;
  readonly #counts: () => HealthCounts;
  #mark: Mark;
  #loopDelayMs = 0;
  #timer: TimerHandle | undefined;
  /** Null until the first span has ended. */
  latest: Health | null = null;

  constructor(clock: Clock, counts: () => HealthCounts) {
    this.#clock = clock;
    this.#counts = counts;
    this.#mark = { atMs: clock.monotonic(), cpuMs: cpuMs(), inputs: 0, poisons: 0 };
  }

  start(): void {
    const dueAt = this.#clock.monotonic() + LOOK_EVERY_MS;
    this.#timer = this.#clock.setTimeout(() => {
      this.#loopDelayMs = Math.max(this.#loopDelayMs, this.#clock.monotonic() - dueAt);
      if (this.#clock.monotonic() - this.#mark.atMs >= HEALTH_EVERY_MS) this.#measure();
      this.start();
    }, LOOK_EVERY_MS);
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
  }

  #measure(): void {
    const before = this.#mark;
    this.#mark = { atMs: this.#clock.monotonic(), cpuMs: cpuMs(), ...this.#counts() };
    // A new incarnation counts from 0 again.
    const inputs = this.#mark.inputs - before.inputs;
    const poisons = this.#mark.poisons - before.poisons;
    this.latest = {
      measuredAtMs: Math.floor(this.#clock.now()),
      cpu: round((this.#mark.cpuMs - before.cpuMs) / (this.#mark.atMs - before.atMs)),
      loopDelayMs: round(this.#loopDelayMs),
      errorRate: inputs > 0 && poisons >= 0 ? poisons / inputs : null,
    };
    this.#loopDelayMs = 0;
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

const round = (value: number): number => Math.round(value * 1_000) / 1_000;
