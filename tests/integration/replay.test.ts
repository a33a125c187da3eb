/** Time travel. Invariant: replay of an actor's history gives its stored state bit for bit; a changed machine is seen to part. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assign, cancel, fromPromise, raise, sendTo, setup } from "xstate";
import { ref, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import type { EventLike } from "../../runtime/envelope.ts";
import { HistoryGapError } from "../../runtime/errors.ts";
import { readHistory } from "../../runtime/history.ts";
import { compareReplay, verifyReplay } from "../../runtime/replay.ts";
import { now, random, sender, uniqueId } from "../../runtime/transition-scope.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

interface Busy {
  readonly n: number;
  readonly ids: readonly string[];
  readonly at: Date | null;
  readonly got: readonly unknown[];
}

/** Uses all that a replay could get wrong: time, ids, chance, timers, work that fails, messages, poison. */
const busy = (step: number) =>
  setup({
    actors: {
      work: fromPromise<string, { n: number }>(async ({ input }) => {
        if (input.n % 3 === 0) throw new RangeError(`No ${input.n}`);
        return `did ${input.n}`;
      }),
    },
    types: { context: {} as Busy, events: {} as EventLike },
  }).createMachine({
    context: { n: 0, ids: [], at: null, got: [] },
    initial: "idle",
    on: {
      INC: {
        actions: [
          assign({ n: ({ context }) => context.n + step, at: () => new Date(now()) }),
          reply(({ context }) => context.n),
        ],
      },
      ID: {
        actions: assign({
          ids: ({ context }) => [...context.ids.slice(-5), uniqueId(), `${Math.floor(random() * 1_000)}`, sender()],
        }),
      },
      SEND: {
        actions: sendTo(
          () => ref("sink", "z"),
          ({ context }) => ({ type: "PUT", n: context.n }),
        ),
      },
      LATER: {
        actions: [
          raise({ type: "INC" }, { delay: 20, id: "later" }),
          sendTo(() => ref("sink", "z"), { type: "PUT", n: -1 }, { delay: 10 }),
        ],
      },
      CANCEL: { actions: cancel("later") },
      THROW: {
        actions: assign(() => {
          throw new Error("Boom");
        }),
      },
    },
    states: {
      idle: { on: { WORK: "working" }, after: { 30: { actions: assign({ n: ({ context }) => context.n + 1_000 }) } } },
      working: {
        invoke: {
          id: "w",
          src: "work",
          input: ({ context }) => ({ n: context.n }),
          onDone: {
            target: "idle",
            actions: assign({ got: ({ context, event }) => [...context.got.slice(-5), event.output] }),
          },
          onError: {
            target: "idle",
            actions: assign({
              got: ({ context, event }) => [...context.got.slice(-5), (event.error as Error).message],
            }),
          },
        },
        on: { LEAVE: "idle", WORK: { target: "working", reenter: true } },
      },
    },
  });
const sink = setup({ types: { context: {} as { sum: number }, events: {} as EventLike } }).createMachine({
  context: { sum: 0 },
  on: { PUT: { actions: assign({ sum: ({ context, event }) => context.sum + Number(event["n"]) }) } },
});

const kind = defineActor({
  kind: "busy",
  machine: busy(1),
  supervision: { strategy: "resume", intensity: 3, periodMs: 50 },
});
const command = fc.constantFrom("INC", "INC", "ID", "SEND", "LATER", "CANCEL", "THROW", "WORK", "LEAVE");
/** What goes wrong on the way: nothing, a crash, or a snapshot. */
const step = fc.oneof(
  { weight: 12, arbitrary: command },
  { weight: 1, arbitrary: fc.constantFrom("crash", "save", "wait") },
);

describe("replay", () => {
  let server: TestServer;
  let cluster: TestCluster;
  let runs = 0;
  beforeAll(async () => {
    server = await startTestServer();
    cluster = await startCluster({ server, kinds: [kind, defineActor({ kind: "sink", machine: sink })] });
  });
  afterAll(async () => {
    await cluster.stop();
    await server.stop();
  });

  /** The actor has nothing under way that would change what is stored meanwhile. */
  async function store(id: string): Promise<void> {
    await until("quiet", async () => {
      const before = await cluster.client.history("busy", id);
      await new Promise((resolve) => setImmediate(resolve));
      return (await cluster.client.query("busy", id)).revision === before.at(-1)?.revision;
    });
  }

  test("verifyReplay() is identical after any sequence of commands, timers, work, poison and crashes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 30 }), async (script) => {
        const { client } = cluster;
        const id = `r${++runs}`;
        await client.tell("busy", id, { type: "INC" });
        for (const each of script) {
          if (each === "crash") await cluster.restart();
          else if (each === "save") await client.history("busy", id);
          else if (each === "wait")
            await until("a timer or two", async () => (await client.query("busy", id)).revision > 1, 60).catch(
              () => undefined,
            );
          else await client.tell("busy", id, { type: each }).catch(() => undefined); // poison, or quarantined by it
        }
        await store(id);
        const replay = await verifyReplay(client.broker, client.names, client.shards, kind, id);
        expect(replay.isIdentical).toBe(true);
        expect(replay.steps.map(({ revision }) => revision)).toEqual(replay.steps.map((_, index) => index + 1));
      }),
      { numRuns: 15, endOnFailure: true },
    );
  });

  test("compareReplay() names the first revision where a changed machine parts, and none for the same", async () => {
    const { client } = cluster;
    for (const type of ["ID", "SEND", "INC", "INC", "ID"]) await client.tell("busy", "cmp", { type });
    await store("cmp");
    const inputs = await readHistory(client.broker, client.names, "busy", "cmp");
    const address = { kind: "busy", id: "cmp" };
    const changed = defineActor({ kind: "busy", machine: busy(2) });
    expect(compareReplay(kind, kind, address, inputs)).toBe(null);
    const firstInc = inputs.find(({ body }) => Buffer.from(body).includes("INC"))?.revision;
    expect(compareReplay(kind, changed, address, inputs)).toMatchObject({
      revision: firstInc,
      event: { type: "INC" },
      before: { context: { n: expect.any(Number) as number } },
    });
    const broken = defineActor({
      kind: "busy",
      machine: setup({}).createMachine({ initial: "idle", states: { idle: {} } }),
    });
    expect(compareReplay(kind, broken, address, inputs)?.revision).toBe(1);
    expect(() => compareReplay(kind, kind, address, inputs.slice(1))).toThrow(HistoryGapError);
  });

  test("verifyReplay() of an unknown actor says so", async () => {
    const { broker, names, shards } = cluster.client;
    await expect(verifyReplay(broker, names, shards, kind, "nobody")).rejects.toThrow(
      /Nothing is stored of "busy\/nobody": check the id/,
    );
  });
});
