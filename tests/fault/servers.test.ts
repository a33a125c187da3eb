/** Three NATS servers that die one after another. Invariant: nothing acknowledged is lost, and calls resume by themselves. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { untilEngineServes } from "./support/engine-gap.ts";
import { counter } from "./support/kinds.ts";
import { NatsCluster } from "./support/nats-cluster.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";

const KEYS = 200;
const CALLS_PER_SECOND = 100;
/** Raft elects within 4 to 13 s; the engine's own gap is small beside it. */
const RESUME_DEADLINE_MS = 30_000;

/** Actors whose next answer is timed: more than one shard each for three nodes. */
const PROBES = 10;

let servers: NatsCluster;
let cluster: FaultCluster;
beforeAll(async () => {
  servers = await NatsCluster.start();
  cluster = await FaultCluster.start(3, { server: servers });
});
afterAll(() => cluster.stop());

test("ask() goes on through the loss of each server in turn", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: KEYS });
  load.pace(CALLS_PER_SECOND);
  for (const name of servers.names) {
    const before = (await cluster.untilWhole()).map(({ incarnation }) => incarnation);
    const startedAt = performance.now();
    await servers.killServer(name);
    const since = (answered: Promise<unknown>) => answered.then(() => Math.round(performance.now() - startedAt));
    const probe = (i: number) =>
      cluster.client.ask(counter, `probe-${i}`, { type: "INC", by: 1 }, { deadlineMs: RESUME_DEADLINE_MS });
    const [engineGapMs, ...gaps] = await Promise.all([
      since(untilEngineServes(cluster.client, name, RESUME_DEADLINE_MS)),
      ...Array.from({ length: PROBES }, (_, i) => since(probe(i))),
    ]);
    await servers.startServer(name);
    const after = (await cluster.untilWhole(RESUME_DEADLINE_MS)).map(({ incarnation }) => incarnation);
    const gapMs = Math.max(...gaps);
    console.log(JSON.stringify({ test: "servers", killed: name, gapMs, engineGapMs }));
    expect(after).toEqual(before);
    const goal = load.acked + CALLS_PER_SECOND;
    await until("the load to go on", RESUME_DEADLINE_MS, () => load.acked > goal);
  }
  const report = await load.finish();
  console.log(JSON.stringify({ test: "servers", acked: report.acked, worstPauseMs: report.slowestMs }));
  expect(report).toMatchObject({ errors: [], unknown: 0, breaches: [] });
});
