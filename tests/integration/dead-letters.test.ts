/** Dead letters that cannot be stored just then. Invariant: no snapshot covers a poison message before its dead letter is stored. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { StreamFullError } from "../../runtime/errors.ts";
import type { Broker } from "../../runtime/port.ts";
import { startCluster, type TestCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { events: {} as { type: "BAD" | "GOOD" } } }).createMachine({
  on: {
    GOOD: {},
    BAD: {
      actions: assign(() => {
        throw new Error("bad");
      }),
    },
  },
});
const kinds = [defineActor({ kind: "poisoned", machine, snapshotEvery: 1 })];
/** Longer than a snapshot takes, in ms. */
const SNAPSHOT_MS = 1_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

/** Refuses dead letters as a full stream does, until the returned function is called. */
function refuseDeadLetters(broker: Broker): () => void {
  const original = broker.append.bind(broker);
  broker.append = (subject, ...rest) =>
    subject.includes(".dead.")
      ? Promise.reject(new StreamFullError("The stream of dead letters is full: free space"))
      : original(subject, ...rest);
  return () => {
    broker.append = original;
  };
}

const letters = async ({ client }: TestCluster, id: string) =>
  (await client.deadLetters()).filter((letter) => letter.id === id).length;

test("a dead letter that was not stored before a crash is filed by the next owner", async () => {
  const cluster = await startCluster({ server, kinds });
  const { client } = cluster;
  refuseDeadLetters((cluster.nodes[0] as TestNode).node.client.broker);
  await expect(client.tell("poisoned", "a", { type: "BAD" })).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  const snapshot = client.names.snapshot(shardOf("poisoned", "a", client.shards), "poisoned", "a");
  const stored = until(
    "a snapshot",
    async () => (await client.broker.getLast(client.names.stream.snapshot, snapshot)) !== null,
    SNAPSHOT_MS,
  );
  await expect(stored).rejects.toThrow("Not within");
  await cluster.restart();
  await until("the dead letter", async () => (await letters(cluster, "a")) === 1);
  await cluster.stop();
});

test("a node that is stopped stores its dead letters before it gives their actors away", async () => {
  const cluster = await startCluster({ server, kinds });
  const { client } = cluster;
  const { node } = cluster.nodes[0] as TestNode;
  const accept = refuseDeadLetters(node.client.broker);
  await expect(client.tell("poisoned", "b", { type: "BAD" })).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  const stopped = node.stop();
  setTimeout(accept, SNAPSHOT_MS);
  await stopped;
  expect(await letters(cluster, "b")).toBe(1);
  await cluster.stop();
});
