/**
 * Journals of ended incarnations. Invariant: only what no shard record names is freed, and the seal stays: it is what refuses
 * a zombie that wakes up later.
 */
import { isShardKey } from "./families.ts";
import { RETRY_MAX_MS } from "./limits.ts";
import type { Names } from "../nats-config/subjects.ts";
import type { Broker } from "./port.ts";
import { decodeRecord } from "./round.ts";
import { MAX_KEYS, type ShardRecord, type ShardTable } from "./shard-table.ts";

/** Ended journals are looked for this often, in ms. */
export const JANITOR_EVERY_MS = 30 * RETRY_MAX_MS;

async function isNamed(broker: Broker, names: Names, subject: string): Promise<boolean> {
  const { stream, key } = names.kv.shards;
  const records = await broker.readLast(stream, key(">"), MAX_KEYS);
  return records.some(
    (message) =>
      isShardKey(message.subject.slice(key("").length)) &&
      (JSON.parse(Buffer.from(message.data).toString()) as ShardRecord).journals.includes(subject),
  );
}

/** Frees ended journals. `isLive`: whether a journal's incarnation is a member. Resolves with how many messages went. */
export async function sweepJournals(
  broker: Broker,
  names: Names,
  table: ShardTable,
  isLive: (subject: string) => boolean,
): Promise<number> {
  const named = new Set([...table.entries.values()].flatMap(({ record }) => record.journals));
  let purged = 0;
  for (const [subject, count] of await broker.subjects(names.stream.journal, names.journals)) {
    if (count <= 1 || named.has(subject) || isLive(subject)) continue;
    const last = await broker.getLast(names.stream.journal, subject);
    // A node that slept sees old records and members: only a sealed journal is known to have ended, and only a fresh look
    // at the records shows that nobody needs it.
    if (last === null || decodeRecord(last.data).type !== "seal") continue;
    if (await isNamed(broker, names, subject)) continue;
    purged += await broker.purge(names.stream.journal, { subject, belowSeq: last.seq });
  }
  return purged;
}
