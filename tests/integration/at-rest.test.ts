/** What comes to rest. Invariant: an actor that nobody looks at leaves memory, and a takeover leaves nothing to be read twice. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import { encode } from "../../runtime/codec.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { WATCH_TTL_MS } from "../../runtime/limits.ts";
import type { ShardRecord } from "../../runtime/shard-table.ts";
import { startCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { context: {} as { n: number }, events: {} as { type: "ADD" } } }).createMachine({
  context: { n: 0 },
  on: { ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

test("an actor leaves memory when its last watcher has been silent for long", async () => {
  const kinds = [defineActor({ kind: "watched", machine, passivateAfterMs: 1 })];
  const cluster = await startCluster({ server, kinds });
  const { client } = cluster;
  const { node } = cluster.nodes[0] as TestNode;
  await client.tell("watched", "a", { type: "ADD" });
  const subject = client.names.query(shardOf("watched", "a", client.shards), "watched", "a");
  await client.broker.request(subject, encode({ watch: "_INBOX.gone" }), 1_000);
  await until("it to leave", () => node.info().activations === 0, WATCH_TTL_MS + 10_000);
  await cluster.stop();
});

test("an owner that is idle after a takeover stores what it rebuilt, and needs the old journal no more", async () => {
  const kinds = [defineActor({ kind: "rebuilt", machine })];
  const cluster = await startCluster({ server, kinds });
  const { client } = cluster;
  const { shards } = client.names.kv;
  const former = client.names.journal("n1", (cluster.nodes[0] as TestNode).node.incarnation);
  await client.tell("rebuilt", "a", { type: "ADD" });
  await cluster.restart();
  const key = shards.key(String(shardOf("rebuilt", "a", client.shards)));
  const journals = async () => {
    const stored = await client.broker.getLast(shards.stream, key);
    return (JSON.parse(Buffer.from(stored?.data ?? []).toString()) as ShardRecord).journals;
  };
  expect(await journals()).toContain(former);
  await until("the record to drop it", async () => !(await journals()).includes(former), 15_000);
  await cluster.stop();
});
