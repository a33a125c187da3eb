/** Nodes whose connection ends. Invariant: a dead one is replaced in far less than its silence takes; a live one keeps its incarnation. */
import type { NatsConnection } from "nats";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createMachine } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { LEASE_MISSED_RENEWALS, LEASE_RENEW_MS } from "../../runtime/limits.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { until, withCluster } from "../support/cluster.ts";

const kinds = [defineActor({ kind: "lamp", machine: createMachine({ on: { PING: {} } }) })];

/** A connection younger than this waits before it is made again, in ms. */
const SETTLED_MS = 300;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

test("a node whose connection ended is replaced before it would be found silent", async () => {
  await withCluster({ server, kinds, nodes: 2 }, async (cluster, client) => {
    const [first, second] = cluster.nodes;
    if (first === undefined || second === undefined) throw new Error("The cluster has no two nodes");
    const crashedAt = performance.now();
    await cluster.crash(first);
    await until("the other node to own all", () => second.node.ownedShards().length === client.shards);
    expect(performance.now() - crashedAt).toBeLessThan(((LEASE_MISSED_RENEWALS - 1) * LEASE_RENEW_MS) / 2);
  });
});

test("a node that reconnects at once keeps its incarnation and its shards", async () => {
  await withCluster({ server, kinds, nodes: 2 }, async (cluster, client) => {
    const startedAt = performance.now();
    const { nodes } = client.names.kv;
    const [first] = cluster.nodes;
    if (first === undefined) throw new Error("The cluster has no node");
    const { incarnation } = first.node;
    const shards = first.node.ownedShards();
    const told: string[] = [];
    client.broker.subscribe(client.names.disconnects, ({ data }) => told.push(Buffer.from(data).toString()));
    await client.broker.flush();
    await until("the library to reconnect at once", () => performance.now() - startedAt > SETTLED_MS);
    await (first.node.client.broker as unknown as { connection: NatsConnection }).connection.reconnect(); // the port hides it
    await until("the server to tell of it", () => told.some((event) => event.includes("troupe-n1-")));
    let renewals = 0;
    const key = nodes.key(`n1.${incarnation}`);
    await client.broker.follow(nodes.stream, { subjects: [key], from: "new" }, ({ data }) => {
      if (data.length > 0) renewals += 1;
    });
    await until("the node to be renewed beyond the grace", () => renewals >= 3);
    expect(first.node.incarnation).toBe(incarnation);
    expect(first.node.ownedShards()).toEqual(shards);
  });
});
