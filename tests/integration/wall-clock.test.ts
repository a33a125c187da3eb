/** Nodes whose wall clocks jump. Invariant: a jump of an hour, either way, moves no timer, no lease and no owner, and doubles nothing. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, raise, setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const HOUR_MS = 3_600_000;
const DELAY_MS = 700;
/** A timer may be this late on a loaded machine, in ms; an hour it is not. */
const LATE_MS = 3_000;

const machine = setup({
  types: { context: {} as { fired: number }, events: {} as { type: "WAIT" } | { type: "AGAIN" } | { type: "NOTHING" } },
  delays: { soon: DELAY_MS },
}).createMachine({
  context: { fired: 0 },
  initial: "idle",
  states: {
    idle: { on: { WAIT: "waiting", NOTHING: {} } },
    waiting: {
      // Another timer of the same actor: all of them are armed anew.
      on: { AGAIN: { actions: raise({ type: "NOTHING" }, { delay: 5 }) }, NOTHING: {} },
      after: { soon: { target: "idle", actions: assign({ fired: ({ context }) => context.fired + 1 }) } },
    },
  },
});
const kinds = [defineActor({ kind: "clocked", machine })];

let server: TestServer;
let cluster: TestCluster;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds, nodes: 2 });
  await until("both to own shards", () => cluster.nodes.every(({ node }) => node.ownedShards().length > 0));
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

test.each([
  ["forwards", HOUR_MS],
  ["backwards", -HOUR_MS],
])(
  "a wall clock that jumps an hour %s fires `after` neither early nor late, and moves nothing",
  async (way, jumpMs) => {
    const { client, nodes } = cluster;
    const before = nodes.map(({ node }) => [node.incarnation, node.ownedShards()]);
    const ids = Array.from({ length: 20 }, (_, i) => `${way}-${i}`);
    const startedAt = performance.now();
    // Half of the timers are set before the jump, half after; all are armed anew by the inputs that follow.
    await Promise.all(ids.slice(0, 10).map((id) => client.tell("clocked", id, { type: "WAIT" })));
    for (const { clock } of nodes) clock.skewMs += jumpMs;
    await Promise.all(ids.slice(10).map((id) => client.tell("clocked", id, { type: "WAIT" })));
    const allSetAt = performance.now();
    await Promise.all(ids.map((id) => client.tell("clocked", id, { type: "AGAIN" })));
    const fired = async () => {
      const views = await Promise.all(ids.map((id) => client.query("clocked", id)));
      return views.filter(({ context }) => (context as { fired: number }).fired === 1).length;
    };
    const atOnce = await fired();
    if (performance.now() - startedAt < DELAY_MS) expect(atOnce).toBe(0);
    await until("all to have fired", async () => (await fired()) === ids.length, DELAY_MS + LATE_MS);
    expect(performance.now() - allSetAt).toBeGreaterThan(DELAY_MS - 50);
    expect(nodes.map(({ node }) => [node.incarnation, node.ownedShards()])).toEqual(before);
  },
);
