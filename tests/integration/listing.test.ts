/** Listings of many actors. Invariant: an answer fits one message, however long the names; what it leaves out is stored. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { setup } from "xstate";
import { MAX_ID_LENGTH } from "../../runtime/address.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { PayloadError } from "../../runtime/errors.ts";
import { startCluster } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const machine = setup({ types: { events: {} as { type: "ADD" } } }).createMachine({ on: { ADD: {} } });
/** With the longest names more than the server's largest message of 1 MiB. */
const COUNT = 9_000;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

test("recent() names the last changed first, before and after their snapshots, and a query moves none", async () => {
  const cluster = await startCluster({ server, kinds: [defineActor({ kind: "seen", machine })], nodes: 2 });
  const { client } = cluster;
  const ids = ["c", "a", "d", "b"];
  for (const id of ids) await client.tell("seen", id, { type: "ADD" });
  const recent = async () => (await client.recent("seen", { limit: 10 })).map(({ id }) => id);
  // Two may have been changed within one millisecond: the later ones are checked.
  expect(new Set(await recent())).toEqual(new Set(ids));
  for (const id of ids) await client.history("seen", id); // stores its snapshot
  expect(await recent()).toEqual(ids.toReversed());
  await client.query("seen", "c");
  expect(await recent()).toEqual(ids.toReversed());
  await client.tell("seen", "c", { type: "ADD" });
  expect(await recent()).toEqual(["c", "b", "d", "a"]);
  const [first] = await client.recent("seen", { limit: 1 });
  expect(first?.node).not.toBeNull();
  const cursor = first?.cursor ?? "";
  expect((await client.recent("seen", { limit: 2, cursor })).map(({ id }) => id)).toEqual(["b", "d"]);
  await expect(client.recent("seen", { limit: 2, cursor: "?" })).rejects.toThrow(PayloadError);
  await cluster.stop();
});

test("list() of live actors with the longest names answers", async () => {
  const cluster = await startCluster({
    server,
    kinds: [defineActor({ kind: "long", machine })],
    verifyDeterminism: false,
  });
  const ids = Array.from({ length: COUNT }, (_, i) => `a${i}-`.padEnd(MAX_ID_LENGTH, "x"));
  await Promise.all(ids.map((id) => cluster.client.tell("long", id, { type: "ADD" })));
  expect((await cluster.client.list("long")).length).toBeGreaterThan(1_000);
  await cluster.stop();
});
