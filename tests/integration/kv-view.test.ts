/** The buckets are plain NATS KV: any client in any language reads who is alive and who owns what. */
import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect as connectNats } from "nats";
import { expect, test } from "vitest";
import { createMachine } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { startNode } from "../../runtime/node.ts";
import type { ShardRecord } from "../../runtime/shard-table.ts";
import { startTestServer } from "../support/nats.ts";

test("an ordinary KV client reads membership and shard owners when a node is up", async () => {
  const server = await startTestServer();
  const kinds = [defineActor({ kind: "thing", machine: createMachine({ on: { go: {} } }) })];
  const node = await startNode({ name: "n1", servers: server.url, kinds });
  const connection = await connectNats({ servers: server.url });
  try {
    const kvm = new Kvm(jetstream(connection));
    const nodes = await kvm.open("troupe_nodes");
    const me = `n1.${node.incarnation}`;
    expect((await nodes.get(me))?.json<{ name: string }>().name).toBe("n1");
    const shards = await kvm.open("troupe_shards");
    for (const shard of node.ownedShards())
      expect((await shards.get(String(shard)))?.json<ShardRecord>().owner).toBe(me);
    expect(node.ownedShards()).toHaveLength(64);
  } finally {
    await connection.close();
    await node.stop();
    await server.stop();
  }
});
