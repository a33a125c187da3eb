/**
 * The time of one simulated process: it passes while it is read, and host timers may be a little early, as Node's are. Invariant: a
 * frozen process runs nothing, and what fell due meanwhile follows in its order when it goes on; a dead one never runs anything again.
 */
import type { Clock, TimerHandle } from "../../runtime/clock.ts";
import type { SimClock } from "../../runtime/testkit/sim-clock.ts";
import type { Random } from "../fault/support/random.ts";

interface ProcessTimer {
  readonly fn: () => void;
  handle: TimerHandle | undefined;
  live: boolean;
}

/** Parts of a millisecond that are told apart: a power of two, so that sums of times are exact and what comes together stays in order. */
const PARTS = 128;
/** What passes between two readings, in ms: more than in life, so that few histories find what falls between the two. */
const READING_MS = 1 / PARTS;

export class ProcessClock implements Clock {
  readonly #world: SimClock;
  readonly #random: Random;
  readonly #skewMs: number;
  readonly #timers = new Set<ProcessTimer>();
  #overdue: ProcessTimer[] = [];
  #readings = 0;
  #isFrozen = false;
  #isDead = false;

  constructor(world: SimClock, random: Random, skewMs = 0) {
    this.#world = world;
    this.#random = random;
    this.#skewMs = skewMs;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  now(): number {
    return Math.floor(this.#world.now() + this.#skewMs + READING_MS * ++this.#readings);
  }

  /** Goes on while the process is frozen, as a real one does. */
  monotonic(): number {
    return this.#world.monotonic() + READING_MS * ++this.#readings;
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    const timer: ProcessTimer = { fn, handle: undefined, live: !this.#isDead };
    if (timer.live) this.#start(timer, delayMs);
    return timer;
  }

  clearTimeout(handle: TimerHandle | undefined): void {
    const timer = handle as ProcessTimer | undefined;
    if (timer === undefined) return;
    timer.live = false;
    this.#timers.delete(timer);
    this.#world.clearTimeout(timer.handle);
  }

  randomId(bytes: number): string {
    let hex = "";
    for (let i = 0; i < bytes; i++) hex += this.#random.int(0, 256).toString(16).padStart(2, "0");
    return hex;
  }

  random(): number {
    return this.#random.next();
  }

  freeze(): void {
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
    this.#catchUp();
  }

  die(): void {
    this.#isDead = true;
    for (const timer of [...this.#timers]) this.clearTimeout(timer);
    this.#overdue = [];
  }

  #start(timer: ProcessTimer, delayMs: number): void {
    this.#timers.add(timer);
    timer.handle = this.#world.setTimeout(() => this.#fire(timer), delayMs - this.#random.int(0, PARTS) / PARTS);
  }

  #fire(timer: ProcessTimer): void {
    // What falls due while others are overdue stands behind them, as in the queue of a real process.
    if (this.#isFrozen || this.#overdue.length > 0) this.#overdue.push(timer);
    else this.#run(timer);
  }

  /** One after the other, so that promises settle between. */
  #catchUp(): void {
    if (this.#overdue.length === 0) return;
    this.#world.setTimeout(() => {
      if (this.#isFrozen) return;
      const timer = this.#overdue.shift();
      if (timer?.live === true) this.#run(timer);
      this.#catchUp();
    }, 0);
  }

  #run(timer: ProcessTimer): void {
    this.#timers.delete(timer);
    timer.live = false;
    timer.fn();
  }
}
