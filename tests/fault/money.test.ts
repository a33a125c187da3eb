/** Messages between actors through kills and freezes. Invariant: no money is made or lost. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Bank } from "./support/bank.ts";
import { FaultCluster } from "./support/cluster.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { storm } from "./support/storm.ts";

const ACCOUNTS = 50;
const LANES = 8;
const STORM_MS = 10_000;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

test("sendTo() moves money once whatever is killed or frozen", async () => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "money", seed }));
  const random = seeded(seed);
  const bank = new Bank(cluster, random.fork("bank"), ACCOUNTS);
  await bank.open();
  bank.start(LANES);
  await storm(cluster, random.fork("storm"), {
    kinds: ["kill", "freeze"],
    faults: 6,
    forMs: STORM_MS,
    pauseMs: 500,
    print: (line) => console.log(JSON.stringify(line)),
  });
  const report = await bank.finish();
  console.log(JSON.stringify(report));
  if (report.sent !== report.received || report.breaches.length > 0) console.error(cluster.logs());
  expect(report).toMatchObject({
    unknown: 0,
    breaches: [],
    total: report.expectedTotal,
    received: report.sent,
    sent: report.transfers,
  });
});
