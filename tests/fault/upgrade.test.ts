/**
 * A kind's version raised node by node under load. Invariant: what a newer node stored never goes to an older one while a newer
 * lives, so no call fails; without one, the older refuses it loudly and serves what it reads.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { VersionError } from "../../runtime/errors.ts";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { counter } from "./support/kinds.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";

const KEYS = 300;
const CALLS_PER_SECOND = 200;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start(3);
});
afterAll(() => cluster.stop());

const versionOf = async (id: string) => (await cluster.client.query(counter, id)).version;

test("startNode() of a newer version joins the older ones: no call fails, and each actor is migrated", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: KEYS });
  await load.touchAll();
  load.pace(CALLS_PER_SECOND);
  for (const node of cluster.nodes) {
    await node.drain();
    node.release = 2;
    await node.start();
    await cluster.untilWhole();
    const goal = load.acked + CALLS_PER_SECOND;
    await until("the load to go on", HEAL_DEADLINE_MS, () => load.acked > goal);
  }
  const report = await load.finish();
  console.log(JSON.stringify({ test: "upgrade", acked: report.acked, worstPauseMs: report.slowestMs }));
  expect(report).toMatchObject({ errors: [], unknown: 0, breaches: [] });
  for (let i = 0; i < KEYS; i++) expect(await versionOf(`k${i}`)).toBe(2);
});

test("a node of an older version that is left alone refuses what a newer one stored, and serves the rest", async () => {
  await cluster.client.ask(counter, "k0", { type: "INC", by: 1 }); // so that it is stored anew
  await Promise.all(cluster.nodes.map((node) => node.drain()));
  const [old] = cluster.nodes;
  if (old === undefined) throw new Error("The cluster has no node");
  old.release = 1;
  await old.start();
  await cluster.untilWhole();
  await expect(cluster.client.ask(counter, "k0", { type: "INC", by: 1 })).rejects.toThrow(VersionError);
  expect(await cluster.client.ask(counter, "unheard-of", { type: "INC", by: 1 })).toEqual({ n: 1 });
  expect(old.log.join("\n")).toContain("newer than the code's 1");
  const newer = cluster.nodes[1];
  if (newer === undefined) throw new Error("The cluster has one node only");
  await newer.start();
  const all = await until("the newer node to have all shards again", HEAL_DEADLINE_MS, async () => {
    const infos = await cluster.untilWhole();
    return infos.find(({ name }) => name === newer.name)?.shards?.length === cluster.client.shards;
  });
  expect(all).toBe(true);
  await cluster.client.ask(counter, "k0", { type: "INC", by: 1 });
});
