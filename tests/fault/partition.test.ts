/** A node whose network parts while it lives. Invariant: others serve its actors, and what it did apart from them never happened. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { counter } from "./support/kinds.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";
import { Wire } from "./support/wire.ts";
import { startTestServer } from "../support/nats.ts";

const KEYS = 200;
const CALLS_PER_SECOND = 200;
/** Answers that are wanted while the node is away, and after it is back. */
const MORE_ANSWERS = 200;

let wire: Wire;
let cluster: FaultCluster;
beforeAll(async () => {
  const server = await startTestServer();
  wire = await Wire.to(server.embedded.port);
  cluster = await FaultCluster.start(3, { server, via: (node, url) => (node === "n1" ? wire.url : url) });
});
afterAll(async () => {
  await cluster.stop();
  await wire.close();
});

test("a node that is cut off is replaced, and joins anew when the network is whole", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: KEYS });
  load.pace(CALLS_PER_SECOND);
  const more = async () => {
    const goal = load.acked + MORE_ANSWERS;
    await until("the load to go on", HEAL_DEADLINE_MS, () => load.acked > goal);
  };
  await more();
  const before = (await cluster.infoOf("n1"))?.incarnation;
  const probe = await cluster.idOn("n1", counter.kind, "probe");
  const cutAt = performance.now();
  wire.cut();
  await cluster.client.ask(counter, probe, { type: "INC", by: 1 }, { deadlineMs: HEAL_DEADLINE_MS });
  const gapMs = Math.round(performance.now() - cutAt);
  await more();
  wire.heal();
  await until("the node to join anew", HEAL_DEADLINE_MS, async () => {
    const info = await cluster.infoOf("n1");
    return info !== undefined && info.incarnation !== before && (info.shards?.length ?? 0) > 0;
  });
  await cluster.untilWhole();
  await more();
  const report = await load.finish();
  console.log(JSON.stringify({ test: "partition", gapMs, worstPauseMs: report.slowestMs }));
  expect(report).toMatchObject({ errors: [], unknown: 0, breaches: [] });
});
