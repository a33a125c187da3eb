/**
 * The wire between one simulated node and the in-memory server. Invariant: each direction delivers in the order sent or
 * not at all; what was under way when the wire was cut never arrives. What a node sent travels by the server's clock, what
 * it is sent by its own: a node that stands still is heard out, and hears nothing until it goes on.
 */
import type { Clock } from "./clock.ts";

export interface Latency {
  readonly min: number;
  readonly max: number;
}

/** What a fault takes away: the `request`, so that nothing is stored, or only the `ack` of what was stored. */
export type Loss = "request" | "ack";

export interface PartitionOptions {
  /** What happens to appends meanwhile. Default `request`. */
  readonly lose?: Loss;
  /** False: the server still believes in the node, so requests to it run into their time-outs. Default true: nobody listens. */
  readonly noticed?: boolean;
}

export const NO_LATENCY: Latency = { min: 0, max: 0 };

interface Direction {
  readonly clock: Clock;
  open: boolean;
  lastArrivalMs: number;
  /** In the order sent: timers of a real host may pass one another, so whichever fires delivers the first. */
  readonly underway: (() => void)[];
}

export class MemoryLink {
  readonly #latencyMs: Latency;
  readonly #up: Direction;
  readonly #down: Direction;
  #epoch = 0;

  constructor(serverClock: Clock, nodeClock: Clock, latencyMs: Latency = NO_LATENCY) {
    this.#latencyMs = latencyMs;
    this.#up = { clock: serverClock, open: true, lastArrivalMs: 0, underway: [] };
    this.#down = { clock: nodeClock, open: true, lastArrivalMs: 0, underway: [] };
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
    const { clock, underway } = direction;
    const nowMs = clock.monotonic();
    const drawnMs = nowMs + min + Math.floor(clock.random() * (max - min + 1));
    direction.lastArrivalMs = Math.max(direction.lastArrivalMs, drawnMs); // a later message never overtakes
    underway.push(arrive);
    clock.setTimeout(() => underway.shift()?.(), direction.lastArrivalMs - nowMs);
  }
}
