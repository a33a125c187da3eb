/**
 * A node whose lease comes and goes. Invariant: an invocation runs only after the commit of the input that started it, only while
 * the lease is good, and once for each time that it has to.
 */
import pino from "pino";
import { expect, test } from "vitest";
import { fromPromise, sendTo, setup } from "xstate";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { shardOf } from "../../runtime/address.ts";
import { ref } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { Engine } from "../../runtime/engine.ts";
import { ACCEPTED, decodeInput, encodeInput, Tag } from "../../runtime/envelope.ts";
import { Journal } from "../../runtime/journal.ts";
import { RETRY_MAX_MS } from "../../runtime/limits.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { runnable } from "../../runtime/runnable.ts";
import { settlePromises, SimClock } from "../../runtime/testkit/sim-clock.ts";

const SHARDS = 4;
const names = makeNames({ namespace: "fence" });

/** An engine of its own, without a node: the test is its lease. */
function startEngine() {
  const running = new Set<string>();
  const noted: string[] = [];
  const sent: string[] = [];
  const runs: string[] = [];
  const work = fromPromise<void, string>(async ({ input, signal }) => {
    runs.push(input);
    running.add(input);
    await new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    }).finally(() => running.delete(input));
  });
  const machine = setup({
    types: { context: {} as { id: string }, events: {} as { type: "GO" }, input: {} as { id: string } },
    actors: { work },
    actions: { note: (_, params: { id: string }) => noted.push(params.id) },
  }).createMachine({
    context: ({ input }) => ({ id: input.id }),
    initial: "idle",
    states: {
      idle: {
        on: {
          GO: {
            target: "busy",
            actions: [
              { type: "note", params: ({ context }) => context },
              sendTo(ref("other", "x"), ({ context }) => ({ type: "HELLO", from: context.id })),
            ],
          },
        },
      },
      busy: { invoke: { src: "work", input: ({ context }) => context.id } },
    },
  });
  const clock = new SimClock({ seed: 5 });
  const broker = createMemoryWorld({ clock, specs: streamSpecs(names) }).connect("n1");
  const closed = new AbortController().signal;
  const journal = new Journal({
    broker,
    clock,
    stream: names.stream.journal,
    subject: names.journal("n1", "1"),
    closed,
  });
  let hold: Promise<void> | undefined;
  const append = journal.append.bind(journal);
  journal.append = async (round) => {
    await hold;
    return await append(round);
  };
  const lease = { isGood: true };
  const engine = new Engine({
    node: "n1",
    broker,
    clock,
    names,
    shardOf: (kind, id) => shardOf(kind, id, SHARDS),
    log: pino({ level: "silent" }),
    kinds: new Map([["worker", runnable(defineActor({ kind: "worker", machine }))]]),
    journal,
    closed,
    verifyDeterminism: false,
    epochOf: () => 1,
    mayAct: () => lease.isGood,
    mayAnswer: () => lease.isGood,
    provenAtMs: () => 0,
    sendRemote: (_kind, _id, body) => {
      sent.push(String(decodeInput(body).event["from"]));
      return Promise.resolve(Uint8Array.from(ACCEPTED));
    },
    onFailed: (error) => {
      throw error;
    },
  });
  for (let shard = 0; shard < SHARDS; shard++) engine.owned.add(shard);
  engine.owned.delete(shardOf("other", "x", SHARDS)); // it is elsewhere
  let seq = 0;
  return {
    runs,
    running,
    noted,
    sent,
    clock,
    engine,
    shardOf: (id: string) => shardOf("worker", id, SHARDS),
    /** Appends wait from now on, until the returned function is called. */
    holdAppends: () => {
      const gate = Promise.withResolvers<void>();
      hold = gate.promise;
      return gate.resolve;
    },
    setLease: (isGood: boolean) => {
      lease.isGood = isGood;
    },
    go: async (id: string) => {
      const event = { type: "GO" };
      const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: ++seq, low: 1, ttlMs: 0, lane: 2, event });
      engine.receive("worker", id, body, () => undefined);
      await settlePromises();
    },
  };
}

test("a lease that was lost and won again starts nothing whose round is not committed", async () => {
  const { engine, runs, holdAppends, setLease, go } = startEngine();
  const commit = holdAppends();
  await go("a");
  setLease(false);
  engine.fence(false);
  setLease(true);
  engine.fence(true);
  await settlePromises();
  expect(runs).toEqual([]);
  commit();
  await settlePromises();
  expect(runs).toEqual(["a"]);
});

test("a commit that arrives without a lease starts nothing until there is one", async () => {
  const { engine, runs, running, setLease, go } = startEngine();
  setLease(false);
  engine.fence(false);
  await go("a");
  expect(runs).toEqual([]);
  setLease(true);
  engine.fence(true);
  await settlePromises();
  expect([...running]).toEqual(["a"]);
});

test("a lease that was gone between two looks of the node leaves nothing unstarted", async () => {
  const { engine, runs, setLease, go } = startEngine();
  setLease(false);
  await go("a");
  expect(runs).toEqual([]);
  setLease(true);
  engine.fence(true);
  await settlePromises();
  expect(runs).toEqual(["a"]);
});

test("what runs goes on when the lease comes back, and is not run twice", async () => {
  const { engine, runs, running, setLease, go } = startEngine();
  await go("a");
  setLease(false);
  engine.fence(false);
  await settlePromises();
  expect([...running]).toEqual([]);
  setLease(true);
  engine.fence(true);
  engine.fence(true);
  await settlePromises();
  expect(runs).toEqual(["a", "a"]);
  expect([...running]).toEqual(["a"]);
});

test("without a lease no message leaves and no custom action runs; the message leaves when the lease is back", async () => {
  const { engine, clock, noted, sent, holdAppends, setLease, go } = startEngine();
  await go("a");
  expect([noted, sent]).toEqual([["a"], ["a"]]);
  const commit = holdAppends();
  await go("c");
  setLease(false);
  commit();
  await clock.advanceAsync(5_000);
  expect(engine.committer.rounds).toBe(2);
  expect([noted, sent]).toEqual([["a"], ["a"]]);
  setLease(true);
  await clock.advanceAsync(2 * RETRY_MAX_MS);
  expect([noted, sent]).toEqual([["a"], ["a", "c"]]);
});
