/**
 * Three hosts, each with a NATS server and a node, and a network between them that parts. Clients call on both sides. Invariant: the
 * larger side goes on, the smaller acknowledges nothing, and what its node appends too late is refused.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Client } from "../../runtime/api.ts";
import { connect } from "../../runtime/client.ts";
import { LEASE_TTL_S } from "../../runtime/limits.ts";
import { decodeRecord } from "../../runtime/round.ts";
import { Bank } from "../fault/support/bank.ts";
import { FaultCluster, NAMESPACE } from "../fault/support/cluster.ts";
import { CounterLoad } from "../fault/support/counters.ts";
import { untilEngineServes } from "../fault/support/engine-gap.ts";
import { counter } from "../fault/support/kinds.ts";
import { NatsCluster } from "../fault/support/nats-cluster.ts";
import { seeded, seedOfRun } from "../fault/support/random.ts";
import { until } from "../fault/support/wait.ts";
import { type Cut, Network } from "./network.ts";

const KEYS = 200;
const CALLS_PER_SECOND = 100;
const LANES = 8;
const ACCOUNTS = 20;
/** Answers that are wanted while a host is cut off, and after. */
const MORE_ANSWERS = 200;
/** An election of the servers takes 4 to 13 s, and TCP may wait as long again as the network was parted, in ms. */
const RESUME_DEADLINE_MS = 45_000;
/** A call on the smaller side waits until the network is whole, in ms. */
const CALL_DEADLINE_MS = 2 * RESUME_DEADLINE_MS;

/** In reverse order, also after a start that failed half way. */
const cleanups: (() => unknown)[] = [];
let network: Network;
let cluster: FaultCluster;
/** A client of the host that is cut off, on that host. */
let inside: Client;
beforeAll(async () => {
  network = Network.start(["h1", "h2", "h3"]);
  cleanups.push(() => network.stop());
  const servers = await NatsCluster.start(network.hosts);
  const [first = "", ...others] = servers.names;
  cluster = await FaultCluster.start(3, {
    server: { url: servers.urlOf(...others), stop: () => servers.stop() },
    via: () => "nats://127.0.0.1:4222",
    on: (node) => network.hosts[Number(node.slice(1)) - 1]?.run ?? [],
  });
  cleanups.push(() => cluster.stop());
  inside = await connect({ servers: servers.urlOf(first), namespace: NAMESPACE });
  cleanups.push(() => inside.close());
});
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const CUTS: readonly { readonly how: Cut; readonly says: string }[] = [
  { how: "off", says: "is cut off" },
  { how: "mute", says: "is not heard" },
  { how: "deaf", says: "hears nobody" },
];

test.each(CUTS)("a host that $says is replaced, acknowledges nothing and joins anew", async ({ how }) => {
  const seed = seedOfRun();
  const random = seeded(seed);
  const options = { keys: KEYS, deadlineMs: CALL_DEADLINE_MS };
  const outer = new CounterLoad(cluster, random.fork("outer"), { ...options, prefix: `${how}-o` });
  const inner = new CounterLoad(cluster, random.fork("inner"), { ...options, prefix: `${how}-i`, client: inside });
  const bank = new Bank(cluster, random.fork("bank"), ACCOUNTS, `${how}-a`);
  await bank.open();
  outer.pace(CALLS_PER_SECOND);
  inner.start(LANES);
  bank.start(1);
  const more = async (load: CounterLoad) => {
    const goal = load.acked + MORE_ANSWERS;
    await until("the load to go on", RESUME_DEADLINE_MS, () => load.acked > goal);
  };
  await Promise.all([more(outer), more(inner)]);
  const before = (await cluster.infoOf("n1"))?.incarnation ?? "";
  const probe = await cluster.idOn("n1", counter.kind, `probe-${how}`);

  network.cut("h1", how);
  const cutAt = performance.now();
  const since = async (event: Promise<unknown>) => event.then(() => Math.round(performance.now() - cutAt));
  const [gapMs, engineGapMs] = await Promise.all([
    since(cluster.client.ask(counter, probe, { type: "INC", by: 1 }, { deadlineMs: RESUME_DEADLINE_MS })),
    since(untilEngineServes(cluster.client, how, RESUME_DEADLINE_MS)),
  ]);
  const ackedInside = inner.acked;
  await more(outer);
  expect(inner.acked).toBe(ackedInside);

  network.heal("h1", how);
  const healedAt = performance.now();
  await until("the node to join anew", RESUME_DEADLINE_MS, async () => {
    const info = await cluster.infoOf("n1").catch(() => undefined);
    return info !== undefined && info.incarnation !== before && (info.shards?.length ?? 0) > 0;
  });
  const rejoinedMs = Math.round(performance.now() - healedAt);
  await cluster.untilWhole(RESUME_DEADLINE_MS);
  await Promise.all([more(outer), more(inner)]);
  const { client } = cluster;
  const last = await client.broker.getLast(client.names.stream.journal, client.names.journal("n1", before));
  const [outside, within, money] = [await outer.finish(), await inner.finish(), await bank.finish()];
  const figures = { gapMs, engineGapMs, rejoinedMs, acked: [outside.acked, within.acked], transfers: money.transfers };
  console.log(JSON.stringify({ test: "partition", how, seed, ...figures }));
  expect(gapMs).toBeLessThan(LEASE_TTL_S * 1_000);
  expect(last === null ? null : decodeRecord(last.data)).toMatchObject({ type: "seal" });
  expect(outside).toMatchObject({ errors: [], unknown: 0, lost: 0, doubled: 0, breaches: [] });
  expect(within).toMatchObject({ errors: [], unknown: 0, lost: 0, doubled: 0, breaches: [] });
  expect(money).toMatchObject({
    errors: [],
    unknown: 0,
    breaches: [],
    total: money.expectedTotal,
    received: money.transfers,
  });
});
