/**
 * Who owns which shard: one KV record each, changed by compare-and-set only. Invariant: a record names the journals and the
 * place from which the shard's state can be rebuilt; its epoch only grows.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { CorruptRecordError } from "./errors.ts";
import { isShardKey, type Shard, shardOfKey } from "./families.ts";
import { CLUSTER_HEARTBEAT_MS } from "./limits.ts";
import type { KindVersions } from "./versions.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";

export interface ShardRecord {
  /** `<node>.<incarnation>`; null: released, free to take. */
  readonly owner: string | null;
  readonly epoch: number;
  /** Every input up to this journal sequence is covered by snapshots. */
  readonly checkpoint: number;
  /** Journal subjects that may hold inputs after the checkpoint, oldest first. */
  readonly journals: readonly string[];
  /** A node of its label's value has owned it: no other may. */
  readonly isPinned?: boolean;
  /** Actors that had something to do at the checkpoint. */
  readonly busy: readonly string[];
  /** Newest version of each kind that an owner may have written. Absent: 1. */
  readonly versions?: KindVersions;
}

export interface ShardEntry {
  readonly record: ShardRecord;
  readonly revision: number;
}

/** Keys read at the start at most: all shards of a largest cluster, and what somebody else may have put among them. */
export const MAX_KEYS = 10_000;

/** @throws {CorruptRecordError} Not a shard's record. */
export function readRecord(shard: Shard, data: Uint8Array): ShardRecord {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString());
  } catch (cause) {
    throw damaged(shard, { cause });
  }
  const { journals, busy, checkpoint } = (value ?? {}) as Partial<ShardRecord>;
  if (!Array.isArray(journals) || !Array.isArray(busy) || typeof checkpoint !== "number") throw damaged(shard);
  return value as ShardRecord;
}

const damaged = (shard: Shard, options?: ErrorOptions): CorruptRecordError =>
  new CorruptRecordError(`The record of shard ${shard} is damaged: restore the bucket`, options);

export class ShardTable {
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #log: Logger;
  readonly #entries = new Map<Shard, ShardEntry>();
  #following: Subscription | undefined;

  constructor(broker: Broker, names: Names, log: Logger) {
    this.#broker = broker;
    this.#names = names;
    this.#log = log;
  }

  get entries(): ReadonlyMap<Shard, ShardEntry> {
    return this.#entries;
  }

  /** Epoch under which `owner` has the shard; 0 if it has not: a newer owner's is not its to use. */
  epochOf(shard: Shard, owner: string): number {
    const record = this.#entries.get(shard)?.record;
    return record?.owner === owner ? record.epoch : 0;
  }

  /** Reads all records, then follows their changes. */
  async open(onChange: () => void): Promise<void> {
    const { stream, key } = this.#names.kv.shards;
    const subjects = [key("*")];
    const isShard = ({ subject }: StoredMessage) => isShardKey(subject.slice(key("").length));
    for (const message of await this.#broker.readLast(stream, key("*"), MAX_KEYS)) {
      if (isShard(message)) this.#observe(message);
    }
    this.#following = await this.#broker.follow(
      stream,
      { subjects, from: "last", heartbeatMs: CLUSTER_HEARTBEAT_MS },
      (message) => {
        try {
          if (isShard(message) && this.#observe(message)) onChange();
        } catch (error) {
          if (!(error instanceof CorruptRecordError)) throw error;
          this.#log.error({ err: error }, "A shard's record was overwritten: what was known before stands"); // the next write over it fails
        }
      },
    );
  }

  close(): void {
    this.#following?.unsubscribe();
  }

  /**
   * Writes a record over `old`, on which it was decided: not over what the table shows by now.
   * @throws {RevisionConflictError} Somebody else changed it: the table will show how.
   */
  async write(shard: Shard, record: ShardRecord, old: ShardEntry | undefined): Promise<void> {
    const expectedLastSubjectSeq = old?.revision ?? 0;
    const data = Buffer.from(JSON.stringify(record));
    const revision = await this.#broker.append(this.#names.kv.shards.key(String(shard)), data, {
      expectedLastSubjectSeq,
    });
    if (revision > (this.#entries.get(shard)?.revision ?? 0)) this.#entries.set(shard, { record, revision });
  }

  /** Reads one record again, after a write of unknown outcome. */
  async refresh(shard: Shard): Promise<void> {
    const message = await this.#broker.getLast(this.#names.kv.shards.stream, this.#names.kv.shards.key(String(shard)));
    if (message !== null) this.#observe(message);
  }

  #observe(message: StoredMessage): boolean {
    const shard = shardOfKey(message.subject.slice(this.#names.kv.shards.key("").length));
    const known = this.#entries.get(shard);
    if (known !== undefined && known.revision >= message.seq) return false;
    const record = readRecord(shard, message.data);
    this.#entries.set(shard, { record, revision: message.seq });
    return known?.record.owner !== record.owner;
  }
}
