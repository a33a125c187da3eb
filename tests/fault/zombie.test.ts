/** A node that wakes up after others took over. Invariant: it writes nothing, answers nothing stale, and joins anew. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeRecord } from "../../runtime/round.ts";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { Bank } from "./support/bank.ts";
import { CounterLoad } from "./support/counters.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { pass, until } from "./support/wait.ts";

const KEYS = 100;
const LANES = 8;
const ACCOUNTS = 50;
/** Times that a node is woken just as its lease has ended, each this much later than the one before, in ms. */
const AWAKENINGS = 4;
const WAKE_STEP_MS = 15;
/** Answers after the awakening that the auditor wants to see, so that a late contradiction is caught. */
const MORE_ANSWERS = 500;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

test("a woken zombie's append is refused and it joins as a new incarnation", async () => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "zombie", seed }));
  const { client } = cluster;
  const load = new CounterLoad(cluster, seeded(seed), { keys: KEYS });
  load.start(LANES, { reads: true });
  await until("the load to run", HEAL_DEADLINE_MS, () => load.acked > 100);

  const zombie = cluster.node("n1");
  const before = (await cluster.infoOf("n1"))?.incarnation ?? "";
  zombie.freeze();
  await until(
    "n2 to own all shards",
    HEAL_DEADLINE_MS,
    async () => (await cluster.infoOf("n2"))?.shards?.length === client.shards,
  );
  const ackedBefore = load.acked;
  await until("answers from the new owner", HEAL_DEADLINE_MS, () => load.acked > ackedBefore + MORE_ANSWERS);

  zombie.thaw();
  const after = await until("the zombie to join anew", HEAL_DEADLINE_MS, async () => {
    const info = await cluster.infoOf("n1");
    return info !== undefined && info.incarnation !== before && (info.shards?.length ?? 0) > 0 && info;
  });
  const ackedAfter = load.acked;
  await until("answers after the awakening", HEAL_DEADLINE_MS, () => load.acked > ackedAfter + MORE_ANSWERS);
  const report = await load.finish();

  expect(after.pid).toBe(zombie.pid);
  expect(zombie.log.join("\n")).toMatch(/SealedError/);
  const last = await client.broker.getLast(client.names.stream.journal, client.names.journal("n1", before));
  expect(last === null ? null : decodeRecord(last.data)).toMatchObject({ type: "seal" });
  expect(report).toMatchObject({ breaches: [], errors: [], unknown: 0 });
});

test("a zombie that wakes while it is taken over neither frees nor loses what others have", async () => {
  const { client } = cluster;
  const { nodes } = client.names.kv;
  const bank = new Bank(cluster, seeded(seedOfRun()).fork("bank"), ACCOUNTS);
  await bank.open();
  bank.start(LANES);
  for (let i = 0; i < AWAKENINGS; i++) {
    const [info] = await cluster.untilWhole();
    const zombie = cluster.node(info?.name ?? "");
    const lease = nodes.key(`${zombie.name}.${info?.incarnation ?? ""}`);
    const ended = Promise.withResolvers<void>();
    const following = await client.broker.follow(nodes.stream, { subjects: [lease], from: "new" }, ({ data }) => {
      if (data.length === 0) ended.resolve();
    });
    zombie.freeze();
    await ended.promise;
    // While the other node seals and claims: a little later each time.
    await pass(i * WAKE_STEP_MS);
    zombie.thaw();
    following.unsubscribe();
    await until("the zombie to join anew", HEAL_DEADLINE_MS, async () => {
      const now = await cluster.infoOf(zombie.name);
      return now !== undefined && now.incarnation !== info?.incarnation;
    });
  }
  const report = await bank.finish();
  expect(report).toMatchObject({
    unknown: 0,
    breaches: [],
    total: report.expectedTotal,
    received: report.sent,
    sent: report.transfers,
  });
});
