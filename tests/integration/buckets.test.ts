/** What somebody else wrote into the cluster's buckets. Invariant: nodes that run go on, and say what is wrong. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { startCluster, type TestCluster, type TestNode } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { context: {} as { n: number }, events: {} as { type: "ADD" } } }).createMachine({
  context: { n: 0 },
  on: { ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

let server: TestServer;
let cluster: TestCluster;
let client: Client;
const crashes: unknown[] = [];
const note = (error: unknown) => void crashes.push(error);
beforeAll(async () => {
  process.prependListener("uncaughtException", note).prependListener("unhandledRejection", note);
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [defineActor({ kind: "counter", machine })] });
  client = cluster.client;
});
afterAll(async () => {
  process.off("uncaughtException", note).off("unhandledRejection", note);
  for (const node of [...cluster.nodes]) await cluster.crash(node);
  await cluster.stop();
  await server.stop();
});

test.each(["not json", "null", "5", '"x"', "[]", "{}", '{"name":5}'])(
  "%s as a member or a shard ends no node",
  async (text) => {
    const { broker, names } = client;
    const before = (cluster.nodes[0] as TestNode).node.incarnation;
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
    expect(crashes).toEqual([]);
    expect((cluster.nodes[0] as TestNode).node.incarnation).toBe(before);
    expect((await client.nodes()).map(({ name }) => name)).toEqual(["n1"]);
  },
);
