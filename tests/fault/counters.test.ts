/** Durable calls through kills and freezes. Invariant: every acknowledged increment is counted exactly once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { storm } from "./support/storm.ts";

const KEYS = 1_000;
const LANES = 32;
/** A dozen faults, or what fits into this, in ms. */
const STORM_MS = 18_000;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

test("ask() counts once whatever is killed or frozen", async () => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "counters", seed }));
  const random = seeded(seed);
  const load = new CounterLoad(cluster, random.fork("load"), { keys: KEYS });
  load.start(LANES, { reads: true });
  await storm(cluster, random.fork("storm"), {
    kinds: ["kill", "freeze"],
    faults: 12,
    forMs: STORM_MS,
    pauseMs: 800,
    print: (line) => console.log(JSON.stringify(line)),
  });
  const report = await load.finish();
  console.log(JSON.stringify(report));
  if (report.breaches.length > 0) console.error(cluster.logs());
  expect(report.breaches).toEqual([]);
  expect(report.errors).toEqual([]);
  expect(report.acked).toBeGreaterThan(0);
});
