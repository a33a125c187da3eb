/** The shards' records against journals and snapshots. Invariant judged: one owner at a time, and from every record all that was committed can be rebuilt. */
import type { Names } from "../../nats-config/subjects.ts";
import type { StoredMessage } from "../../runtime/port.ts";
import type { ShardRecord } from "../../runtime/shard-table.ts";
import type { ActorBook } from "./book.ts";

export interface ShardBooksDeps {
  readonly names: Names;
  readonly shards: number;
  readonly isSealed: (journal: string) => boolean;
  readonly booksOf: (shard: number) => readonly ActorBook[];
  readonly breach: (law: string, text: string) => void;
}

export class ShardBooks {
  readonly #deps: ShardBooksDeps;
  readonly #records = new Map<number, ShardRecord>();

  constructor(deps: ShardBooksDeps) {
    this.#deps = deps;
  }

  ownerOf(shard: number): string | null {
    return this.#records.get(shard)?.owner ?? null;
  }

  /** Journal of the incarnation `<node>.<incarnation>`. */
  journalOf(owner: string): string {
    const dot = owner.indexOf(".");
    return this.#deps.names.journal(owner.slice(0, dot), owner.slice(dot + 1));
  }

  /** True if the shard changed hands by force. */
  take(message: StoredMessage): boolean {
    const { names, breach, isSealed } = this.#deps;
    const shard = Number(message.subject.slice(names.kv.shards.key("").length));
    const record = JSON.parse(Buffer.from(message.data).toString()) as ShardRecord;
    const old = this.#records.get(shard);
    this.#records.set(shard, record);
    this.#assertRebuildable(shard, record);
    if (record.checkpoint < (old?.checkpoint ?? 0))
      breach("a checkpoint never goes back", `shard ${shard}: ${record.checkpoint} after ${old?.checkpoint}`);
    const isNewOwner = record.owner !== (old?.owner ?? null) && record.owner !== null;
    if (isNewOwner && record.epoch <= (old?.epoch ?? 0))
      breach(
        "fencing tokens only grow",
        `shard ${shard} went to ${record.owner} at epoch ${record.epoch} after ${old?.epoch}`,
      );
    if (!isNewOwner || old === undefined || old.owner === null) return false;
    if (!isSealed(this.journalOf(old.owner)))
      breach("a shard is taken behind a seal", `shard ${shard} went from ${old.owner} to ${record.owner}`);
    return true;
  }

  /** Of every actor: what no snapshot covers is behind the checkpoint, in a journal that the record names. */
  #assertRebuildable(shard: number, { checkpoint, journals }: ShardRecord): void {
    for (const book of this.#deps.booksOf(shard)) {
      for (let i = book.rows.length - 1; i >= 0; i--) {
        const row = book.rows[i];
        if (row === undefined || row.seq <= book.covers) break;
        if (row.seq <= checkpoint)
          this.#deps.breach(
            "a snapshot is never behind a checkpoint",
            `${book.key} is covered up to ${book.covers}, shard ${shard} up to ${checkpoint}`,
          );
        else if (!journals.includes(row.journal))
          this.#deps.breach(
            "a record names what must be read",
            `shard ${shard} leaves out ${row.journal}, which holds ${row.seq} of ${book.key}`,
          );
      }
    }
  }
}
