/** Checkpoints of an owner that was taken over. Invariant: it writes nothing, and nothing that it began fails unheard. */
import pino from "pino";
import { expect, test } from "vitest";
import { setup } from "xstate";
import { Checkpointer } from "../../runtime/checkpointer.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { CHECKPOINT_EVERY_MS } from "../../runtime/limits.ts";
import { type ShardRecord, ShardTable } from "../../runtime/shard-table.ts";
import { settlePromises } from "../../runtime/testkit/sim-clock.ts";
import { type EngineBench, startEngine } from "../support/engine.ts";

const SHARDS = 2;
const ME = "n1.1";

/** Both shards' records in the table, written by others as far as `owners` say so. */
async function startCheckpointer(owners: readonly string[], bench: EngineBench = startEngine([], SHARDS)) {
  const { engine, clock, world, broker, names } = bench;
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

/** Long enough for nothing to happen meanwhile, in ms. */
const WAIT_MS = 5_000;
const sleeper = defineActor({
  kind: "sleeper",
  machine: setup({ types: { events: {} as { type: "SLEEP" } } }).createMachine({
    initial: "asleep",
    states: { asleep: { on: { SLEEP: {} }, after: { [WAIT_MS]: "awake" } }, awake: {} },
  }),
});

test("Checkpointer names an actor whose timer fired as busy until that is committed: its stored state still waits for it", async () => {
  const bench = startEngine([sleeper], 1);
  const { engine, clock, holdAppends } = bench;
  const event = { type: "SLEEP" };
  const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: 1, low: 1, ttlMs: 0, lane: 2, event });
  engine.receive("sleeper", "s", body, () => undefined);
  await settlePromises();
  await engine.saver.saveAll(() => true);
  holdAppends();
  await clock.advanceAsync(WAIT_MS);
  expect(engine.activations.get("sleeper/s")?.state.timers.size).toBe(0);
  const { failures, records } = await startCheckpointer([ME], bench);
  expect(failures).toEqual([]);
  const { busy } = JSON.parse(Buffer.from(records[0]?.data ?? []).toString()) as ShardRecord;
  expect(busy).toEqual(["sleeper/s"]);
});
