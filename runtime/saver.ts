/**
 * Which actors are dirty, when they are stored, and what a checkpoint may say. Invariant: a checkpoint never passes an input
 * that no stored snapshot covers, and names every actor in memory that still has something to do.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import type { Clock } from "./clock.ts";
import { TroupeError } from "./errors.ts";
import { HISTORY_CHUNK_BYTES, MAX_NODE_UNCOVERED_BYTES, MAX_SNAPSHOTS_IN_FLIGHT, SNAPSHOT_AFTER_MS } from "./limits.ts";
import type { Broker } from "./port.ts";
import type { Shard } from "./families.ts";
import type { Round } from "./round.ts";
import { type Capture, capture, storeCapture } from "./snapshots.ts";

export interface SaverOptions {
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Clock;
  readonly log: Logger;
  readonly activations: ReadonlyMap<string, Activation>;
  readonly onFailed: (error: unknown) => void;
}

export interface Checkpoint {
  /** Every input up to here is covered by snapshots. */
  readonly seq: number;
  /** Actors with timers, invocations or unacknowledged messages: to be woken by a new owner. */
  readonly busy: string[];
}

/** Pause between looks at an actor that others are storing, in ms. */
const COVER_POLL_MS = 2;

/** One snapshot at a time, and none that would cover what the next owner must file again if this one dies. */
const mayCapture = (activation: Activation): boolean => !activation.saving && activation.unfiled === 0;

/** Enough to be stored before its time. */
const isLong = ({ kind, uncovered }: Activation): boolean =>
  uncovered.length >= kind.snapshotEvery || uncovered.bytes >= HISTORY_CHUNK_BYTES;

export class Saver {
  readonly #options: SaverOptions;
  /** In the order in which they became dirty. */
  readonly #dirty = new Set<Activation>();
  #due: Activation[] = [];
  #inFlight = 0;
  /** The last sweep left some for want of room. */
  #isBehind = false;
  /** Bytes of inputs of all actors that no stored snapshot covers. */
  #uncoveredBytes = 0;

  constructor(options: SaverOptions) {
    this.#options = options;
  }

  /** Too much is not covered: nothing more may be taken until snapshots catch up. */
  get isFull(): boolean {
    return this.#uncoveredBytes >= MAX_NODE_UNCOVERED_BYTES;
  }

  /** `bytes` more are to be covered; due: as soon as a round closes. */
  onInput(activation: Activation, bytes: number, isDue = isLong(activation)): void {
    this.#uncoveredBytes += bytes;
    this.#soil(activation);
    if (isDue) this.#makeDue(activation);
  }

  /** The stored snapshot lists messages that were acknowledged since: a late resend could outlive the receiver's memory. */
  onOutboxShrunk(activation: Activation): void {
    if (activation.savedOutbox > 0 && activation.phase === "live") this.#soil(activation);
  }

  /** All states reflect exactly the rounds up to the closing one: the only moment when a busy actor can be captured. */
  onClose(round: Round): void {
    while (this.#due.length > 0 && this.#inFlight + round.captures.length < MAX_SNAPSHOTS_IN_FLIGHT) {
      const activation = this.#due.shift() as Activation;
      const isDue = activation.phase === "live" && activation.snapshotDue;
      if (isDue && mayCapture(activation)) round.captures.push(capture(activation));
      else activation.snapshotDue = false;
    }
  }

  onCommitted(round: Round): void {
    for (const taken of round.captures) void this.#store(taken);
    round.captures = [];
  }

  /** Stores what has been dirty for long. Called by the node's clock. */
  sweep(): void {
    const now = this.#options.clock.monotonic();
    this.#isBehind = false;
    for (const activation of this.#dirty) {
      if (now - activation.dirtySinceMs < SNAPSHOT_AFTER_MS && !this.isFull) break;
      if (this.#inFlight >= MAX_SNAPSHOTS_IN_FLIGHT) {
        this.#isBehind = true;
        break;
      }
      if (!mayCapture(activation)) continue;
      // What is due waits for a round to close: on an idle node none does.
      if (activation.isCommitted) void this.#store(capture(activation));
      else this.#makeDue(activation);
    }
  }

  /**
   * Stores every dirty actor that `picks`, now. Resolves when none is left; all of them must be committed and quiet.
   * @throws {TroupeError} A state that cannot be stored: it stays in the journal for the next owner.
   */
  async saveAll(picks: (activation: Activation) => boolean): Promise<void> {
    for (;;) {
      const picked = [...this.#dirty].filter(picks);
      if (picked.length === 0) return;
      const idle = picked.filter(mayCapture).slice(0, MAX_SNAPSHOTS_IN_FLIGHT);
      const failures = (await Promise.all(idle.map((activation) => this.#store(capture(activation))))).filter(
        (error) => error !== undefined,
      );
      const final = failures.find((error) => !error.retryable);
      if (final !== undefined) throw final;
      if (idle.length === 0 || failures.length > 0)
        await new Promise<void>((resolve) => this.#options.clock.setTimeout(resolve, 10));
    }
  }

  /**
   * Resolves when a stored snapshot covers what the actor has taken so far, or when it left.
   * @throws {TroupeError} The state cannot be stored.
   */
  async cover(activation: Activation): Promise<void> {
    const { uncovered } = activation;
    const end = uncovered.dropped + uncovered.length;
    while (uncovered.dropped < end && activation.phase === "live") {
      const failure =
        activation.isCommitted && mayCapture(activation) ? await this.#store(capture(activation)) : undefined;
      if (failure?.retryable === false) throw failure;
      if (uncovered.dropped >= end) return;
      this.#makeDue(activation);
      await new Promise<void>((resolve) => this.#options.clock.setTimeout(resolve, COVER_POLL_MS));
    }
  }

  /**
   * Stores what dirty actors that `picks` have taken so far, while they go on: afterwards little is left to store.
   * @throws {TroupeError} A state cannot be stored.
   */
  async coverAll(picks: (activation: Activation) => boolean): Promise<void> {
    const dirty = [...this.#dirty].filter(picks);
    for (let i = 0; i < dirty.length; i += MAX_SNAPSHOTS_IN_FLIGHT)
      await Promise.all(dirty.slice(i, i + MAX_SNAPSHOTS_IN_FLIGHT).map((activation) => this.cover(activation)));
  }

  /** Makes one clean, idle actor leave memory. False: there is none. */
  evictOne(drop: (activation: Activation) => void): boolean {
    for (const activation of this.#options.activations.values()) {
      if (!this.isEvictable(activation) || activation.state.timers.size > 0) continue;
      drop(activation);
      return true;
    }
    return false;
  }

  /** Clean, committed, and nothing under way. */
  isEvictable(activation: Activation): boolean {
    return (
      activation.phase === "live" &&
      !activation.kind.isSingleton &&
      activation.dirtySinceMs === 0 &&
      activation.mailbox.size === 0 &&
      activation.isCommitted &&
      activation.state.outbox.size === 0 &&
      activation.state.invocations.size === 0 &&
      activation.unfiled === 0 &&
      !activation.isWatched(this.#options.clock.monotonic())
    );
  }

  /** What may be written for each shard now. `endOf`: the last record of the shard that this node knows as committed. */
  checkpoints(endOf: (shard: Shard) => number): Map<Shard, Checkpoint> {
    const result = new Map<Shard, { seq: number; busy: string[] }>();
    for (const activation of this.#options.activations.values()) {
      let entry = result.get(activation.shard);
      if (entry === undefined) result.set(activation.shard, (entry = { seq: endOf(activation.shard), busy: [] }));
      // What is still loading may have something to do, and what an uncommitted input ended may have never ended.
      const mayBeBusy = activation.phase === "loading" || activation.isBusy || !activation.isCommitted;
      if (mayBeBusy) entry.busy.push(activation.key);
      const first = activation.uncovered.seqAt(0) ?? 0;
      if (first > 0) entry.seq = Math.min(entry.seq, first - 1);
    }
    return result;
  }

  #soil(activation: Activation): void {
    if (activation.dirtySinceMs > 0) return;
    activation.dirtySinceMs = this.#options.clock.monotonic();
    this.#dirty.add(activation);
  }

  #makeDue(activation: Activation): void {
    if (activation.snapshotDue || activation.saving) return;
    activation.snapshotDue = true;
    this.#due.push(activation);
  }

  /** The failure, if it was one. The actor then stays dirty and is tried again; only a later owner ends this one. */
  async #store(taken: Capture): Promise<TroupeError | undefined> {
    const { activation } = taken;
    this.#inFlight++;
    try {
      this.#uncoveredBytes -= await storeCapture(this.#options, taken);
      this.#dirty.delete(activation);
      activation.dirtySinceMs = 0;
      const stale = taken.outboxSize > 0 && activation.state.outbox.size < taken.outboxSize;
      if (activation.uncovered.length > 0 || stale) this.#soil(activation);
      return undefined;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      this.#options.log.warn({ err: error, actor: activation.key }, "Snapshot not stored");
      if (error.code === "SEALED") this.#options.onFailed(error);
      return error;
    } finally {
      activation.saving = false;
      this.#inFlight--;
      if (this.#isBehind && this.#inFlight <= MAX_SNAPSHOTS_IN_FLIGHT / 2) this.sweep();
    }
  }
}
