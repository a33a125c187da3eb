/** A stored state that cannot be read. Invariant: its own actor is refused, loudly; the node and all other actors go on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { shardOf } from "../../runtime/address.ts";
import type { Client } from "../../runtime/api.ts";
import { encode } from "../../runtime/codec.ts";
import { counterKind, startWatchedCluster, until, type WatchedCluster } from "../support/cluster.ts";

let watched: WatchedCluster;
let client: Client;
beforeAll(async () => {
  watched = await startWatchedCluster([counterKind]);
  client = watched.client;
});
afterAll(() => watched.stop());

const subjectOf = (id: string) => client.names.snapshot(shardOf("counter", id, client.shards), "counter", id);
/** Bytes that are no snapshot, each wrong in its own layer. */
const DAMAGED: Readonly<Record<string, Uint8Array>> = {
  text: Buffer.from("hello"),
  frame: encode([1, 5]),
  core: encode([1, 5, encode([1, 2, 3]), encode([])]),
  fields: encode([1, 5, encode([1, 1, 0, null, 7, null, {}, "x", 1, null]), encode([])]),
  outbox: encode([1, 5, encode([1, 1, 0, null, [], [], [], 0, [], null]), encode(5)]),
  machine: encode([1, 5, encode([1, 1, 0, { value: "nowhere", context: 5 }, [], [], [], 0, [], null]), encode([])]),
};

test.each(Object.keys(DAMAGED))("an actor whose stored %s is damaged is refused", async (what) => {
  const id = `a-${what}`;
  await client.broker.append(subjectOf(id), DAMAGED[what] as Uint8Array);
  const told = client.tell("counter", id, { type: "ADD" }, { deadlineMs: 2_000 });
  await expect(told).rejects.toMatchObject({
    code: expect.stringMatching(/CORRUPT_RECORD|VERSION_MISMATCH/) as string,
  });
  expect(watched.crashes).toEqual([]);
});

test("a new owner serves the shards of actors that are damaged, but not these", async () => {
  await client.tell("counter", "good", { type: "ADD" });
  for (const what of Object.keys(DAMAGED)) {
    await client.tell("counter", `b-${what}`, { type: "ADD" });
    await client.broker.append(subjectOf(`b-${what}`), DAMAGED[what] as Uint8Array);
  }
  await watched.cluster.restart();
  await until("the good one to be served", async () => (await client.query("counter", "good")).revision === 1);
  for (const what of Object.keys(DAMAGED)) {
    const told = client.tell("counter", `b-${what}`, { type: "ADD" }, { deadlineMs: 2_000 });
    await expect(told).rejects.toMatchObject({
      code: expect.stringMatching(/CORRUPT_RECORD|VERSION_MISMATCH/) as string,
    });
  }
  expect(watched.crashes).toEqual([]);
});
