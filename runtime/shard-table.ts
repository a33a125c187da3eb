/**
 * Who owns which shard: one KV record each, changed by compare-and-set only. Invariant: a record names the journals and the
 * place from which the shard's state can be rebuilt; its epoch only grows.
 */
import type { Names } from "../nats-config/subjects.ts";
import { CorruptRecordError } from "./errors.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";

export interface ShardRecord {
  /** `<node>.<incarnation>`; null: released, free to take. */
  readonly owner: string | null;
  readonly epoch: number;
  /** Every input up to this journal sequence is covered by snapshots. */
  readonly checkpoint: number;
  /** Journal subjects that may hold inputs after the checkpoint, oldest first. */
  readonly journals: readonly string[];
  /** Actors that had something to do at the checkpoint. */
  readonly busy: readonly string[];
}

export interface ShardEntry {
  readonly record: ShardRecord;
  readonly revision: number;
}

export class ShardTable {
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #entries = new Map<number, ShardEntry>();
  #following: Subscription | undefined;

  constructor(broker: Broker, names: Names) {
    this.#broker = broker;
    this.#names = names;
  }

  get entries(): ReadonlyMap<number, ShardEntry> {
    return this.#entries;
  }

  /** Reads all records, then follows their changes. */
  async open(shards: number, onChange: () => void): Promise<void> {
    const { stream, key } = this.#names.kv.shards;
    for (const message of await this.#broker.readLast(stream, key(">"), shards)) this.#observe(message);
    this.#following = await this.#broker.follow(stream, { subjects: [key(">")], from: "last" }, (message) => {
      if (this.#observe(message)) onChange();
    });
  }

  close(): void {
    this.#following?.unsubscribe();
  }

  /**
   * Writes a record over `old`, on which it was decided: not over what the table shows by now.
   * @throws {RevisionConflictError} Somebody else changed it: the table will show how.
   */
  async write(shard: number, record: ShardRecord, old: ShardEntry | undefined): Promise<void> {
    const expectedLastSubjectSeq = old?.revision ?? 0;
    const data = Buffer.from(JSON.stringify(record));
    const revision = await this.#broker.append(this.#names.kv.shards.key(String(shard)), data, {
      expectedLastSubjectSeq,
    });
    if (revision > (this.#entries.get(shard)?.revision ?? 0)) this.#entries.set(shard, { record, revision });
  }

  /** Reads one record again, after a write of unknown outcome. */
  async refresh(shard: number): Promise<void> {
    const message = await this.#broker.getLast(this.#names.kv.shards.stream, this.#names.kv.shards.key(String(shard)));
    if (message !== null) this.#observe(message);
  }

  #observe(message: StoredMessage): boolean {
    const shard = Number(message.subject.slice(this.#names.kv.shards.key("").length));
    const known = this.#entries.get(shard);
    if (known !== undefined && known.revision >= message.seq) return false;
    const record = JSON.parse(Buffer.from(message.data).toString()) as ShardRecord;
    if (!Array.isArray(record.journals))
      throw new CorruptRecordError(`The record of shard ${shard} is damaged: restore the bucket`);
    this.#entries.set(shard, { record, revision: message.seq });
    return known?.record.owner !== record.owner;
  }
}
