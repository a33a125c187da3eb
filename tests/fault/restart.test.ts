/** Nodes that are killed and started again at once. Invariant: each shard has one owner again, and no increment is lost. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { seeded, seedOfRun } from "./support/random.ts";

/** Enough for the two nodes to claim the same shards at the same moment. */
const ROUNDS = 8;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

test("startNode() shares the shards again when nodes are killed and restarted in turn", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: 200 });
  load.start(8, { reads: true });
  for (let i = 0; i < ROUNDS; i++) {
    const node = cluster.node(i % 2 === 0 ? "n2" : "n1");
    await node.kill();
    await node.start();
    await cluster.untilWhole();
  }
  expect(await load.finish()).toMatchObject({ breaches: [], errors: [], unknown: 0 });
});
