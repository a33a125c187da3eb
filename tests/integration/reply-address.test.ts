/**
 * The reply address of a message is the sender's to write. Invariant: a node answers into inboxes only: an answer in a journal,
 * a bucket or a device's subject would be written with the node's own rights.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import type { Client } from "../../runtime/api.ts";
import { encode } from "../../runtime/codec.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { context: {} as { count: number }, events: {} as { type: "ADD" } } }).createMachine({
  context: { count: 0 },
  on: { ADD: { actions: assign({ count: ({ context }) => context.count + 1 }) } },
});

let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [defineActor({ kind: "counter", machine })] });
  client = cluster.client;
});
afterAll(async () => {
  for (const node of [...cluster.nodes]) await cluster.crash(node); // a broken node does not drain
  await cluster.stop();
  await server.stop();
});

const node = () => (cluster.nodes[0] as TestCluster["nodes"][number]).node;
const inc = () => node().incarnation;

test("a message whose reply address is the node's journal is taken, and the journal holds rounds only", async () => {
  const { names, broker, shards } = client;
  await client.tell("counter", "a", { type: "ADD" });
  const before = inc();
  const journal = names.journal(node().name, before);
  const shard = shardOf("counter", "a", shards);
  const ask = (seq: number) =>
    encodeInput({ tag: Tag.Ask, sender: "raw", seq, low: 1, ttlMs: 0, lane: 2, event: { type: "ADD" } });
  broker.publish(names.act(shard, "counter", "a"), ask(1), { reply: journal });
  broker.publish(names.control(shard, "counter", "a"), ask(2), { reply: journal });
  broker.publish(names.query(shard, "counter", "a"), new Uint8Array(0), { reply: journal });
  broker.publish(names.node(node().name), encode({ info: true }), { reply: journal });
  broker.publish(names.node(node().name), encode({}), { reply: journal });
  await until("both messages to be taken", async () => {
    const { context } = await client.query("counter", "a");
    return (context as { count: number }).count === 3;
  });
  await client.tell("counter", "a", { type: "ADD" });
  expect(await client.query("counter", "a")).toMatchObject({ context: { count: 4 } });
  expect(inc()).toBe(before);
});
