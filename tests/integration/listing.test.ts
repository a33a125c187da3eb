/** Listings of many actors. Invariant: an answer fits one message, however long the names; what it leaves out is stored. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { setup } from "xstate";
import { MAX_ID_LENGTH } from "../../runtime/address.ts";
import { defineActor } from "../../runtime/define-actor.ts";
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
