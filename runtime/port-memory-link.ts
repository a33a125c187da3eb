/**
 * The wire between one simulated node and the in-memory server. Invariant: each direction delivers in the order sent or
 * not at all; what was under way when the wire was cut never arrives.
 */
import type { Clock } from "./clock.ts";

export interface Latency {
  readonly min: number;
  readonly max: number;
}

interface Direction {
  open: boolean;
  lastArrivalMs: number;
}

export class MemoryLink {
  readonly #clock: Clock;
  readonly #latencyMs: Latency;
  readonly #up: Direction = { open: true, lastArrivalMs: 0 };
  readonly #down: Direction = { open: true, lastArrivalMs: 0 };
  #epoch = 0;

  constructor(clock: Clock, latencyMs: Latency) {
    this.#clock = clock;
    this.#latencyMs = latencyMs;
  }

  /** Cuts the wire; `uplink` keeps the way to the server open, so that only answers are lost. */
  cut(uplink: boolean): void {
    this.#epoch += 1;
    this.#up.open = uplink;
    this.#down.open = false;
  }

  restore(): void {
    this.#epoch += 1;
    this.#up.open = true;
    this.#down.open = true;
  }

  toServer(fn: () => void): void {
    this.#send(this.#up, fn);
  }

  toClient(fn: () => void): void {
    this.#send(this.#down, fn);
  }

  #send(direction: Direction, fn: () => void): void {
    if (!direction.open) return;
    const epoch = this.#epoch;
    const arrive = () => {
      if (epoch === this.#epoch) fn();
    };
    const { min, max } = this.#latencyMs;
    if (max <= 0) {
      queueMicrotask(arrive);
      return;
    }
    const nowMs = this.#clock.monotonic();
    const drawnMs = nowMs + min + Math.floor(this.#clock.random() * (max - min + 1));
    direction.lastArrivalMs = Math.max(direction.lastArrivalMs, drawnMs); // a later message never overtakes
    this.#clock.setTimeout(arrive, direction.lastArrivalMs - nowMs);
  }
}
