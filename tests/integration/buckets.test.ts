/** What somebody else wrote into the cluster's buckets. Invariant: nodes that run go on, and say what is wrong. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Client } from "../../runtime/api.ts";
import { counterKind, startWatchedCluster, type TestNode, type WatchedCluster } from "../support/cluster.ts";

let watched: WatchedCluster;
let client: Client;
beforeAll(async () => {
  watched = await startWatchedCluster([counterKind]);
  client = watched.client;
});
afterAll(() => watched.stop());

test.each(["not json", "null", "5", '"x"', "[]", "{}", '{"name":5}'])(
  "%s as a member or a shard ends no node",
  async (text) => {
    const { broker, names } = client;
    const before = (watched.cluster.nodes[0] as TestNode).node.incarnation;
    const data = Buffer.from(text);
    await broker.append(names.kv.nodes.key("foreign"), data);
    await broker.append(names.kv.nodes.key("foreign.1"), data);
    await broker.append(names.kv.shards.key("foreign"), data);
    await broker.append(names.kv.shards.key("9999"), data);
    const last = await broker.append(names.kv.shards.key("0"), data);
    const told = Promise.withResolvers<void>();
    const subjects = [names.kv.shards.key("0")];
    const following = await broker.follow(names.kv.shards.stream, { subjects, from: "last" }, ({ seq }) => {
      if (seq >= last) told.resolve();
    });
    await told.promise;
    following.unsubscribe();
    await client.tell("counter", "a", { type: "ADD" });
    expect(watched.crashes).toEqual([]);
    expect((watched.cluster.nodes[0] as TestNode).node.incarnation).toBe(before);
    expect((await client.nodes()).map(({ name }) => name)).toEqual(["n1"]);
  },
);
