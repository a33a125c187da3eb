/** Shadows of another owner's actors. Invariant: what is handed over is what its owner committed, or nothing is. */
import pino from "pino";
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import {
  MAX_DEADLINE_MS,
  SENDER_HORIZON_MS,
  SHADOW_RENEW_MS,
  SHADOW_STALE_MS,
  SNAPSHOT_AFTER_MS,
  STANDBY_MAX_ACTORS,
  STANDBY_MAX_BYTES,
} from "../../runtime/limits.ts";
import { runnable } from "../../runtime/runnable.ts";
import { ShadowJournal } from "../../runtime/shadow-journal.ts";
import { type ShardRecord, ShardTable } from "../../runtime/shard-table.ts";
import { startEngine } from "../support/engine.ts";

const SHARDS = 2;
/** The code of the owner, and that of a standby which was repaired since. */
let isRepaired = false;
const kind = defineActor({
  kind: "counter",
  machine: setup({
    types: { context: {} as { n: number }, events: {} as { type: "ADD" } | { type: "BOOM" } },
  }).createMachine({
    context: { n: 0 },
    on: {
      ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) },
      BOOM: {
        actions: assign(() => {
          if (!isRepaired) throw new Error("Boom");
          return {};
        }),
      },
    },
  }),
});
/** Ids of actors of each shard. */
const idOf = (shard: number): string =>
  Array.from({ length: 64 }, (_, i) => `c${i}`).find((id) => shardOf("counter", id, SHARDS) === shard) as string;
const [FIRST, SECOND] = [idOf(0), idOf(1)];
const KEY = `counter/${FIRST}`;
/** Longer than any wire of the test's world, in ms. */
const SOON_MS = 10;

/** An owner of both shards, whose journal is not followed yet. */
async function startOwner() {
  const bench = startEngine([kind], SHARDS);
  const { engine, clock, world, broker, names } = bench;
  const subject = names.journal("n1", "1");
  const log = pino({ level: "silent" });
  const table = new ShardTable(broker, names, log);
  const records = new Map<number, ShardRecord>();
  for (let shard = 0; shard < SHARDS; shard++) {
    const record = { owner: "n1.1", epoch: 1, checkpoint: 0, journals: [subject], busy: [] };
    await table.write(shard, record, undefined);
    records.set(shard, record);
  }
  let seq = 0;
  const send = async (id: string, type = "ADD") => {
    const event = { type };
    const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: ++seq, low: seq, ttlMs: 0, lane: 2, event });
    engine.receive("counter", id, body, () => undefined);
    await clock.advanceAsync(SOON_MS);
    return engine.committer.committedSeq;
  };
  const store = async () => {
    await Promise.all([engine.saver.saveAll(() => true), clock.advanceAsync(SOON_MS)]);
  };
  const checkpoint = async (seqNow: number) => {
    for (const [shard, record] of records)
      await table.write(shard, { ...record, checkpoint: seqNow }, table.entries.get(shard));
  };
  const holding = { actors: 0, bytes: 0 };
  const follow = async () => {
    const standby = world.connect("n2");
    const kinds = new Map([["counter", runnable(kind)]]);
    const { shardOf: shard } = engine.options;
    const options = {
      broker: standby,
      clock,
      names,
      log,
      kinds,
      shardOf: shard,
      table,
      subject,
      shards: records,
      holding,
    };
    const journal = new ShadowJournal(options);
    await Promise.all([journal.start(), clock.advanceAsync(SOON_MS)]);
    return { journal, standby };
  };
  const recordOf = (shard: number) => records.get(shard) as ShardRecord;
  return { ...bench, subject, send, store, checkpoint, holding, follow, recordOf };
}

const countOf = (snapshot: { readonly context: unknown } | null | undefined) =>
  (snapshot?.context as { n: number } | undefined)?.n;

test("take() hands over what was committed before it followed and since", async () => {
  const { send, follow, clock, recordOf, holding } = await startOwner();
  await send(FIRST);
  const { journal } = await follow();
  await send(SECOND);
  const last = await send(FIRST);
  const taken = journal.take(0, recordOf(0));
  expect(taken?.position).toBe(last);
  expect([...(taken?.actors.keys() ?? [])]).toEqual([KEY]);
  const shadow = taken?.actors.get(KEY);
  expect(shadow?.isFit(clock.monotonic())).toBe(true);
  expect(countOf(shadow?.activation.state.snapshot)).toBe(2);
  expect(shadow?.inputs()).toHaveLength(2);
  expect(holding.actors).toBe(1);
  expect(journal.take(0, recordOf(0))).toBeUndefined();
});

test("a shadow begins on the stored state, and holds the inputs since", async () => {
  const { send, store, follow, recordOf, engine } = await startOwner();
  await send(FIRST);
  const covered = await send(FIRST);
  await store();
  const { journal } = await follow();
  await send(FIRST);
  const activation = journal.take(0, recordOf(0))?.actors.get(KEY)?.activation;
  expect(activation?.coveredSeq).toBe(covered);
  expect(activation?.snapshotSeq).toBe(engine.activations.get(KEY)?.snapshotSeq);
  expect(activation?.uncovered.length).toBe(1);
  expect(countOf(activation?.state.snapshot)).toBe(3);
});

test("sweep() lets go of what a checkpoint passed, and renews what is old by the stored state", async () => {
  const { send, store, follow, checkpoint, clock, recordOf, holding } = await startOwner();
  const { journal } = await follow();
  await send(FIRST);
  const passed = await send(SECOND);
  await send(FIRST);
  await store();
  await checkpoint(passed);
  journal.sweep();
  expect(holding.actors).toBe(1);
  await clock.advanceAsync(SHADOW_RENEW_MS);
  journal.sweep();
  await clock.advanceAsync(SOON_MS);
  const shadow = journal.take(0, { ...recordOf(0), checkpoint: passed })?.actors.get(KEY);
  expect(shadow?.inputs()).toEqual([]);
  expect(countOf(shadow?.activation.state.snapshot)).toBe(2);
  expect(holding).toEqual({ actors: 0, bytes: 0 });
});

test("sweep() keeps an actor whose inputs are all stored until a checkpoint says so: it may have timers to wake for", async () => {
  const { send, store, follow, checkpoint, clock, recordOf, holding } = await startOwner();
  const { journal } = await follow();
  const last = await send(FIRST);
  await store();
  await clock.advanceAsync(SHADOW_RENEW_MS);
  for (let look = 0; look < 2; look++) {
    journal.sweep();
    await clock.advanceAsync(SHADOW_RENEW_MS);
  }
  expect(holding.actors).toBe(1);
  await checkpoint(last);
  journal.sweep();
  expect(holding.actors).toBe(0);
  expect(journal.take(0, { ...recordOf(0), checkpoint: last })?.actors.size).toBe(0);
});

test("a shadow that could not be renewed is not fit", async () => {
  const { send, follow, clock, recordOf } = await startOwner();
  const { journal, standby } = await follow();
  await send(FIRST);
  standby.partition({ lose: "request", noticed: true });
  for (let waited = 0; waited <= SHADOW_STALE_MS; waited += SHADOW_RENEW_MS) {
    await clock.advanceAsync(SHADOW_RENEW_MS);
    journal.sweep();
  }
  const shadow = journal.take(0, recordOf(0))?.actors.get(KEY);
  expect(shadow?.isFit(clock.monotonic())).toBe(false);
  expect(shadow?.inputs()).toHaveLength(1);
});

test("a shadow that took a poison message is not fit, and holds all that the actor is rebuilt from", async () => {
  const { send, follow, clock, recordOf } = await startOwner();
  for (const type of ["ADD", "BOOM", "ADD"]) await send(FIRST, type);
  isRepaired = true;
  const { journal } = await follow();
  const shadow = journal.take(0, recordOf(0))?.actors.get(KEY);
  expect(shadow?.isFit(clock.monotonic())).toBe(false);
  expect(shadow?.inputs().map(({ input }) => input[3])).toEqual([null, "Error: Boom", null]);
});

test("rounds that were purged before they came make it begin anew", async () => {
  const { send, store, follow, clock, recordOf, broker, names, subject } = await startOwner();
  const { journal, standby } = await follow();
  await send(FIRST);
  standby.partition({ lose: "request", noticed: true });
  await send(FIRST);
  await send(FIRST);
  await store();
  const last = await send(FIRST);
  await broker.purge(names.stream.journal, { subject, belowSeq: last });
  standby.heal();
  await clock.advanceAsync(SHADOW_RENEW_MS); // the connection comes back by itself
  const shadow = journal.take(0, recordOf(0))?.actors.get(KEY);
  expect(shadow?.inputs().map(({ seq }) => seq)).toEqual([last]);
  expect(countOf(shadow?.activation.state.snapshot)).toBe(4);
});

test("take() gives nothing of another epoch, nor what ends before the checkpoint", async () => {
  const { send, follow, recordOf } = await startOwner();
  const { journal } = await follow();
  await send(FIRST);
  const last = await send(SECOND);
  expect(journal.take(0, { ...recordOf(0), epoch: 2 })).toBeUndefined();
  expect(journal.take(1, { ...recordOf(1), checkpoint: last + 1 })).toBeUndefined();
});

test.each([
  ["actors", { actors: STANDBY_MAX_ACTORS - 1 }],
  ["bytes", { bytes: STANDBY_MAX_BYTES - 40 }],
])("at the limit of %s a shard goes without, the others as before", async (_, held) => {
  const { send, follow, recordOf, holding } = await startOwner();
  const { journal } = await follow();
  Object.assign(holding, held);
  await send(FIRST);
  const last = await send(SECOND);
  expect(journal.take(1, recordOf(1))).toBeUndefined();
  expect(journal.gaveUpAtMs).toBeGreaterThan(0);
  expect(journal.take(0, recordOf(0))?.position).toBe(last);
});

test("a shadow is renewed after its owner has stored it, and is too old before a repetition would be new", () => {
  expect(SHADOW_RENEW_MS).toBeGreaterThan(SNAPSHOT_AFTER_MS);
  expect(SHADOW_STALE_MS).toBeGreaterThan(SHADOW_RENEW_MS);
  expect(SHADOW_STALE_MS + MAX_DEADLINE_MS).toBeLessThan(SENDER_HORIZON_MS);
});
