/**
 * From where recovery must read, per shard, and the journal freed behind. Invariant: a checkpoint passes only what snapshots
 * cover, is written over the record that it was computed from, and the journal is purged only behind all of them.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { addressOf } from "./address.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import type { Engine } from "./engine.ts";
import { SealedError, TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { CHECKPOINT_EVERY_MS } from "./limits.ts";
import type { Broker } from "./port.ts";
import type { ShardEntry, ShardTable } from "./shard-table.ts";

export interface CheckpointerOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly me: string;
  readonly table: ShardTable;
  readonly engine: Engine;
  /** Where a shard's older journals ended: until a checkpoint passes it they are still needed. */
  readonly sealedAt: ReadonlyMap<Shard, number>;
  readonly onFailed: (error: unknown) => void;
}

export class Checkpointer {
  readonly #o: CheckpointerOptions;
  #timer: TimerHandle | undefined;
  #isStopped = false;
  #purgedBelow = 0;

  constructor(options: CheckpointerOptions) {
    this.#o = options;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#timer = this.#o.clock.setTimeout(() => void this.#run(), CHECKPOINT_EVERY_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#o.clock.clearTimeout(this.#timer);
  }

  /** Sequence of the shard's first input that nothing covers since its actor cannot be read. */
  parkedAt(shard: Shard): number {
    let first = Number.POSITIVE_INFINITY;
    for (const entry of this.#o.engine.parked.values()) if (entry.shard === shard) first = Math.min(first, entry.seq);
    return first;
  }

  /** Actors of a shard that had something to do and are not live yet. */
  unwoken(shard: Shard): string[] {
    return [...this.#o.engine.unwoken].filter((key) => {
      const { kind, id } = addressOf(key);
      return this.#o.engine.options.shardOf(kind, id) === shard;
    });
  }

  async #run(): Promise<void> {
    try {
      await this.#write();
    } catch (error) {
      if (!(error instanceof TroupeError)) {
        this.#o.onFailed(error);
        return;
      }
      // A conflict means that a shard was taken from us: its new owner has sealed the journal, and the next append tells.
      this.#o.log.warn({ err: error }, "Checkpoint not written");
    }
    this.start();
  }

  /** Writes how far each owned shard is covered, and frees the journal behind. */
  async #write(): Promise<void> {
    const { engine, table } = this.#o;
    const mine = engine.options.journal.subject;
    const committed = engine.committer.committedSeq;
    // An idle owner writes nothing: what it took over ends at the seal.
    const endOf = (shard: Shard) => Math.max(committed, this.#o.sealedAt.get(shard) ?? 0);
    const found = engine.saver.checkpoints(endOf);
    let floor = engine.owned.size > 0 ? committed : 0;
    // Shards that are leaving are not owned any more, but until their records tell who is busy only the journal does.
    for (const [shard, { record }] of table.entries)
      if (record.owner === this.#o.me && !engine.owned.has(shard)) floor = Math.min(floor, record.checkpoint);
    // Decided for all before the first is written: a shard that was taken ends it, and no write may be left without its reader.
    const writes: (() => Promise<void>)[] = [];
    for (const shard of engine.owned) {
      const entry = table.entries.get(shard);
      const old = (entry as ShardEntry).record;
      if (old.owner !== this.#o.me)
        throw new SealedError(`Shard ${shard} was taken by "${String(old.owner)}": this incarnation is over`);
      const sealedAt = this.#o.sealedAt.get(shard) ?? 0;
      const { seq, busy } = found.get(shard) ?? { seq: endOf(shard), busy: [] };
      const checkpoint = Math.max(old.checkpoint, Math.min(seq, this.parkedAt(shard) - 1));
      const journals = checkpoint >= sealedAt ? [mine] : old.journals;
      const record = { ...old, checkpoint, journals, busy: [...new Set([...busy, ...this.unwoken(shard)])].sort() };
      floor = Math.min(floor, checkpoint);
      if (JSON.stringify(record) !== JSON.stringify(old)) writes.push(() => table.write(shard, record, entry));
    }
    await Promise.all(writes.map((write) => write()));
    if (floor <= this.#purgedBelow) return;
    // The last record stays: the fence of the next append compares with it.
    await this.#o.broker.purge(this.#o.names.stream.journal, {
      subject: mine,
      belowSeq: Math.min(floor + 1, committed),
    });
    this.#purgedBelow = floor;
  }
}
