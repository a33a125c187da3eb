/** What an actor names an event that it publishes. Invariant: what no pool can take lies in the dead letters, and the node lives. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { setup } from "xstate";
import { publish } from "../../runtime/author.ts";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { startWatchedCluster, type TestNode, until, type WatchedCluster } from "../support/cluster.ts";

interface Say {
  readonly type: "SAY";
  readonly pool: string;
  readonly event: { readonly type: string; readonly id?: string; readonly source?: string };
}

const machine = setup({ types: { events: {} as Say | { type: "PING" } } }).createMachine({
  on: {
    PING: {},
    SAY: {
      actions: publish(
        ({ event }) => (event as Say).pool,
        ({ event }) => (event as Say).event,
      ),
    },
  },
});

let watched: WatchedCluster;
let client: Client;
beforeAll(async () => {
  watched = await startWatchedCluster([defineActor({ kind: "sayer", machine })]);
  client = watched.client;
});
afterAll(() => watched.stop());

/** Each with whether it is taken by its pool, refused by it, or poison. */
const NAMES: Readonly<
  Record<string, readonly [event: Say["event"], pool: string, end: "taken" | "refused" | "poison"]>
> = {
  "line-in-id": [{ type: "x.y", id: "a\r\nNats-Rollup: all" }, "shared.p", "refused"],
  "words-in-id": [{ type: "x.y", id: "à la 漢" }, "shared.p", "taken"],
  "blank-id": [{ type: "x.y", id: " " }, "shared.p", "taken"],
  "space-in-type": [{ type: "x y" }, "shared.p", "poison"],
  "line-in-type": [{ type: "x\r\nPUB a 0\r\n" }, "shared.p", "poison"],
  "space-in-pool": [{ type: "x.y" }, "shared p", "poison"],
  "no-pool": [{ type: "x.y" }, "", "poison"],
  "dots-only": [{ type: "x.y" }, "..", "poison"],
  "empty-word-in-type": [{ type: "x..y" }, "shared.p", "poison"],
  "star-pool": [{ type: "x.y" }, "*", "poison"],
};

test.each(Object.keys(NAMES))("%s", async (what) => {
  const [event, pool, end] = NAMES[what] as (typeof NAMES)[string];
  const { node } = watched.cluster.nodes[0] as TestNode;
  const before = node.incarnation;
  const { broker, names } = client;
  const count = async () => (await broker.read(names.stream.pool, { subject: names.poolAll })).length;
  const dead = async () =>
    (await client.deadLetters()).filter(({ id, kind, sender }) =>
      kind === "sayer" ? id === what : sender === `sayer/${what}`,
    ).length;
  const taken = await count();
  const told = client.tell("sayer", what, { type: "SAY", pool, event } as never);
  if (end === "poison") await expect(told).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  else await told;
  await until("it to be taken or refused", async () => (await count()) > taken || (await dead()) > 0);
  expect((await count()) - taken).toBe(end === "taken" ? 1 : 0);
  expect(await dead()).toBe(end === "taken" ? 0 : 1);
  await client.tell("sayer", what, { type: "PING" } as never);
  expect(node.incarnation).toBe(before);
  expect(watched.crashes).toEqual([]);
});
