/** Everything dies at once, and the server under load. Invariant: exactly once still holds, and work goes on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Bank } from "./support/bank.ts";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { inflict } from "./support/faults.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";

const KEYS = 200;
const LANES = 16;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

test.each([
  [{ kind: "kill-all", forMs: 0 }],
  [{ kind: "kill-server" }],
  // After a restart of the server, ordered consumers and leases must still notice a dead node.
  [{ kind: "kill", node: "n1", forMs: 0 }],
] as const)("ask() and sendTo() take effect once through %j", async (fault) => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "outage", seed, ...fault }));
  const random = seeded(seed);
  const load = new CounterLoad(cluster, random.fork(`load-${fault.kind}`), { keys: KEYS });
  const counted = await audited(load, async () => {
    await until("the load to run", HEAL_DEADLINE_MS, () => load.acked > 200);
    const gapMs = await inflict(cluster, fault, `probe-${fault.kind}`);
    console.log(JSON.stringify({ ...fault, gapMs }));
    await until("the load to go on", HEAL_DEADLINE_MS, () => load.acked > 1_000);
  });
  expect(counted).toMatchObject({ errors: [], unknown: 0, breaches: [] });
});

test("sendTo() moves money once when nats-server is killed and then both nodes", async () => {
  const bank = new Bank(cluster, seeded(seedOfRun()).fork("bank"), 20);
  await bank.open();
  bank.start(4);
  for (const kind of ["kill-server", "kill-all"] as const)
    await inflict(cluster, { kind, forMs: 0 }, `probe-bank-${kind}`);
  const report = await bank.finish();
  expect(report).toMatchObject({
    unknown: 0,
    breaches: [],
    total: report.expectedTotal,
    received: report.sent,
    sent: report.transfers,
  });
});

/** Counters of an earlier case are not this case's: each tallies from what it finds. */
async function audited(load: CounterLoad, run: () => Promise<void>) {
  await load.adoptExisting();
  load.start(LANES, { reads: true });
  await run();
  return await load.finish();
}
