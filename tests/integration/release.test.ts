/** Shards that move while their actors are busy with themselves. Invariant: however busy, an actor holds its shard up for a moment only. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { startCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** An actor that never rests: each result starts the next invocation. */
const machine = setup({
  types: { context: {} as { turns: number }, events: {} as { type: "GO" } },
  actors: { turn: fromPromise(() => Promise.resolve()) },
}).createMachine({
  context: { turns: 0 },
  initial: "idle",
  states: {
    idle: { on: { GO: "spinning" } },
    spinning: {
      invoke: {
        src: "turn",
        onDone: { target: "spinning", reenter: true, actions: assign({ turns: ({ context }) => context.turns + 1 }) },
      },
    },
  },
});

/** Busy actors: with several some are always between input and commit. */
const SPINNERS = 16;
/** A shard moves within this, in ms: a round trip or two and the moment that busy actors get. */
const MOVE_MS = 5_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

test("a node that joins gets its shards though their actors never rest", async () => {
  const kinds = [defineActor({ kind: "spin", machine, snapshotEvery: 100 })];
  const cluster = await startCluster({ server, kinds, verifyDeterminism: false });
  const { client } = cluster;
  for (let i = 0; i < SPINNERS; i++) await client.tell("spin", `s${i}`, { type: "GO" });
  const joined = await cluster.start("n2");
  await until("n2 to own shards", () => joined.node.ownedShards().length > 0, MOVE_MS);
  const turnsOf = async (id: string) => ((await client.query("spin", id)).context as { turns: number }).turns;
  for (let i = 0; i < SPINNERS; i++) {
    const before = await turnsOf(`s${i}`);
    await until("the actor to go on", async () => (await turnsOf(`s${i}`)) > before);
  }
  const startedMs = performance.now();
  await cluster.nodes[0]?.node.stop();
  expect(performance.now() - startedMs).toBeLessThan(MOVE_MS);
  cluster.nodes.shift();
  await until("n2 to own all shards", () => joined.node.ownedShards().length === client.shards, MOVE_MS);
  for (const { node } of [...cluster.nodes]) await node.stop();
  await cluster.stop();
});
