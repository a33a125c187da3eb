/** Nodes that are stopped and started one after another under load. Invariant: callers meet a pause, and nothing else. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";

const KEYS = 1_000;
const CALLS_PER_SECOND = 500;
/** Calls between two restarts. */
const BETWEEN = CALLS_PER_SECOND;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start(3);
});
afterAll(() => cluster.stop());

test("stop() hands over at 500 durable calls a second: none fails, none is lost, none counts twice", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: KEYS });
  load.pace(CALLS_PER_SECOND);
  const more = async () => {
    const goal = load.acked + BETWEEN;
    await until("the load to go on", HEAL_DEADLINE_MS, () => load.acked > goal);
  };
  await more();
  for (const node of cluster.nodes) {
    await node.drain();
    expect(node.log.join("\n")).not.toContain("Left without releasing");
    await more();
    await node.start();
    await cluster.untilWhole();
    await more();
  }
  const report = await load.finish();
  console.log(JSON.stringify({ test: "rolling", acked: report.acked, worstPauseMs: report.slowestMs }));
  expect(report).toMatchObject({ errors: [], unknown: 0, breaches: [] });
});
