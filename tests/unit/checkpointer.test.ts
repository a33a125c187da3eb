/** Checkpoints of an owner that was taken over. Invariant: it writes nothing, and nothing that it began fails unheard. */
import pino from "pino";
import { expect, test } from "vitest";
import { Checkpointer } from "../../runtime/checkpointer.ts";
import { CHECKPOINT_EVERY_MS } from "../../runtime/limits.ts";
import { type ShardRecord, ShardTable } from "../../runtime/shard-table.ts";
import { startEngine } from "../support/engine.ts";

const SHARDS = 2;
const ME = "n1.1";

/** Both shards' records in the table, written by others as far as `owners` say so. */
async function startCheckpointer(owners: readonly string[]) {
  const { engine, clock, world, broker, names } = startEngine([], SHARDS);
  const log = pino({ level: "silent" });
  const table = new ShardTable(broker, names, log);
  for (const [shard, owner] of owners.entries()) {
    const record: ShardRecord = { owner, epoch: 1, checkpoint: 0, journals: ["old"], busy: [] };
    await table.write(shard, record, undefined);
  }
  const failures: unknown[] = [];
  const checkpointer = new Checkpointer({
    broker,
    clock,
    names,
    log,
    me: ME,
    table,
    engine,
    sealedAt: new Map(),
    onFailed: (error) => failures.push(error),
  });
  checkpointer.start();
  await clock.advanceAsync(CHECKPOINT_EVERY_MS);
  checkpointer.stop();
  return { failures, records: world.messages(names.kv.shards.stream) };
}

test("Checkpointer writes the records of its shards", async () => {
  const { failures, records } = await startCheckpointer([ME, ME]);
  expect(failures).toEqual([]);
  expect(records.map(({ seq }) => seq)).toEqual([3, 4]);
});

test("Checkpointer writes no record when one of its shards was taken: the others are not its own any more", async () => {
  const { failures, records } = await startCheckpointer([ME, "n2.1"]);
  expect(failures).toEqual([]);
  expect(records.map(({ seq }) => seq)).toEqual([1, 2]);
});
