/**
 * Wake-ups while the broker stumbles. Invariant: a wake-up that stands in its stream brings its actor back, whatever failed on
 * the way, without a new owner.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import { inOrder, type Shard } from "../../runtime/families.ts";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import type { Broker } from "../../runtime/port.ts";
import { startCluster, type TestCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { events: {} as { type: "ADD" } } }).createMachine({ on: { ADD: {} } });
const kinds = [defineActor({ kind: "sleeper", machine, passivateAfterMs: 1 })];

let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds, nodes: 2 });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

const nodeAt = (index: number) => cluster.nodes[index] as TestNode;

/** Makes a method of a node's connection fail the first time that `isMeant`; resolves when it did. */
function failOnce<M extends "follow" | "getLast">(broker: Broker, method: M, isMeant: (...args: unknown[]) => boolean) {
  const failed = Promise.withResolvers<void>();
  const original = broker[method].bind(broker) as (...args: unknown[]) => unknown;
  const stumbling = (...args: unknown[]) => {
    if (!isMeant(...args)) return original(...args);
    Object.assign(broker, { [method]: original });
    failed.resolve();
    return Promise.reject(new BrokerUnavailableError("No answer: try again"));
  };
  Object.assign(broker, { [method]: stumbling });
  return failed.promise;
}

/** What the server's schedule does. */
const wake = (id: string) =>
  client.broker.append(client.names.wake(shardOf("sleeper", id, client.shards), "sleeper", id), new Uint8Array(1));

/** Only what is live counts, not what is about to load. */
const isBack = async (id: string) =>
  (await client.list("sleeper")).some((actor) => actor.id === id && actor.node !== null);

test("a wake-up whose actor cannot be loaded just then is tried again", async () => {
  const { node } = [nodeAt(0), nodeAt(1)].find((each) => each.node.owns({ kind: "sleeper", id: "a" })) as TestNode;
  await client.tell("sleeper", "a", { type: "ADD" });
  await until("it to be stored and to leave", () => node.info().activations === 0);
  const snapshot = client.names.snapshot(shardOf("sleeper", "a", client.shards), "sleeper", "a");
  const failed = failOnce(node.client.broker, "getLast", (_stream, subject) => subject === snapshot);
  await wake("a");
  await failed;
  await until("it to be back", () => isBack("a"));
});

test("a takeover whose doors cannot all be opened at once ends with all of them open", async () => {
  const [first, second] = [nodeAt(0), nodeAt(1)];
  const gained: Shard[] = [];
  second.node.onShards((shards) => gained.push(...shards));
  const failed = failOnce(second.node.client.broker, "follow", (stream) => stream === client.names.stream.wake);
  const orphans = first.node.ownedShards();
  const id = Array.from({ length: 1_000 }, (_, i) => `o${i}`).find((name) =>
    orphans.includes(shardOf("sleeper", name, client.shards)),
  ) as string;
  await client.tell("sleeper", id, { type: "ADD" });
  await until("it to be stored and to leave", () => first.node.info().activations === 0);
  await cluster.crash(first);
  await failed;
  await until("the owner to hear of its shards", () => gained.length === orphans.length);
  expect(gained.toSorted(inOrder)).toEqual(orphans);
  await until("it to be at rest", () => second.node.info().activations === 0);
  await wake(id);
  await until("it to be back", () => isBack(id));
});
