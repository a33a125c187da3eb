/**
 * Streams without room on a real server. Invariant: what cannot be stored is refused or waits, everything else goes on, and all
 * of it goes on by itself once there is room.
 */
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect as connectNats, type NatsConnection } from "nats";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { publish, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { BusyError, DeadlineError, PoisonMessageError, StreamFullError } from "../../runtime/errors.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** Longer than a call takes that is taken, shorter than a test's patience, in ms. */
const DEADLINE_MS = 1_500;
/** Of one message: a few make an actor's inputs too many to lack a snapshot. */
const LARGE = "d".repeat(200_000);

type Event = { readonly type: "ADD" | "THROW" | "TELL"; readonly data?: string };

const taker = defineActor({
  kind: "taker",
  machine: setup({
    types: { context: {} as { n: number }, events: {} as Event },
    actions: {
      count: assign({ n: ({ context }) => context.n + 1 }),
      answer: reply(({ context }: { context: { n: number } }) => context.n),
      fail: assign(() => {
        throw new Error("Poison");
      }),
      announce: publish("shared.news", () => ({ type: "told" })),
    },
  }).createMachine({
    context: { n: 0 },
    on: { ADD: { actions: ["count", "answer"] }, THROW: { actions: "fail" }, TELL: { actions: "announce" } },
  }),
});

let server: TestServer;
let cluster: TestCluster;
let client: Client;
let nats: NatsConnection;
let manager: JetStreamManager;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [taker], verifyDeterminism: false });
  client = cluster.client;
  nats = await connectNats({ servers: server.url });
  manager = await jetstreamManager(nats);
});
afterAll(async () => {
  await nats.close();
  await cluster.stop();
  await server.stop();
});

/** Takes the stream's room, and lets it refuse what finds none; the function that comes back gives the room back. */
async function squeeze(stream: string): Promise<() => Promise<unknown>> {
  const { config, state } = await manager.streams.info(stream);
  await manager.streams.update(stream, { ...config, max_bytes: Math.max(1, state.bytes), discard: "new" as never });
  return () => manager.streams.update(stream, config);
}

const add = (id: string, data?: string) =>
  client.ask(taker, id, { type: "ADD", ...(data !== undefined && { data }) }, { deadlineMs: DEADLINE_MS });

test("ask() is refused with STREAM_FULL while the journal is full, and reads go on under a good lease", async () => {
  await add("known");
  const giveBack = await squeeze(client.names.stream.journal);
  // The round that met the full stream may still be stored: its caller does not know.
  await expect(add("first")).rejects.toThrow(DeadlineError);
  await expect(add("second")).rejects.toThrow(StreamFullError);
  const view = await client.query(taker, "known");
  expect(view).toMatchObject({ context: { n: 1 } });
  expect(view.stale).toBeUndefined();
  expect(await client.nodes()).toMatchObject([{ refusal: expect.stringContaining("maximum bytes") as string }]);
  await giveBack();
  await until("calls to be taken again", async () => (await add("third").catch(() => 0)) === 1);
  expect(await client.query(taker, "first")).toMatchObject({ context: { n: 1 } });
  await expect(client.query(taker, "second")).rejects.toMatchObject({ code: "ACTOR_NOT_FOUND" });
  expect(await client.nodes()).toMatchObject([{ refusal: null }]);
});

test.each(["history", "snapshot"] as const)(
  "ask() is taken while the %s is full until too much of one actor is not covered, and others go on",
  async (stream) => {
    const giveBack = await squeeze(client.names.stream[stream]);
    const id = `large-${stream}`;
    let taken = 0;
    const fill = async (): Promise<void> => {
      for (;;) taken = (await add(id, LARGE)) as number;
    };
    await expect(fill()).rejects.toThrow(BusyError);
    expect(taken).toBeGreaterThan(1);
    expect(await add(`small-${stream}`)).toBe(1);
    expect(await client.query(taker, id)).toMatchObject({ context: { n: taken } });
    await giveBack();
    await until("the actor to take more", async () => (await add(id).catch(() => 0)) === taken + 1);
    expect(await client.history("taker", id)).toHaveLength(taken + 1);
  },
);

test("a poison message is answered while the dead letters are full, and filed once when there is room", async () => {
  const giveBack = await squeeze(client.names.stream.dead);
  await expect(client.ask(taker, "poison", { type: "THROW" })).rejects.toThrow(PoisonMessageError);
  expect(await add("poison")).toBe(1);
  expect(await client.deadLetters()).toEqual([]);
  await giveBack();
  const filed = await until("the dead letter", async () => {
    const letters = await client.deadLetters();
    return letters.length > 0 && letters;
  });
  expect(filed).toMatchObject([{ reason: "poison", id: "poison" }]);
});

test("an actor's event waits while its pool is full, and arrives once when there is room", async () => {
  const giveBack = await squeeze(client.names.stream.pool);
  await client.tell(taker, "herald", { type: "TELL" });
  expect(await add("herald")).toBe(1);
  const pooled = () => client.broker.read(client.names.stream.pool, { subject: client.names.poolAll });
  expect(await pooled()).toEqual([]);
  await giveBack();
  await until("the event", async () => (await pooled()).length > 0);
  expect(await pooled()).toHaveLength(1);
});

test("an event is refused while the ingress is full, and taken under the same id when there is room", async () => {
  const { broker, names } = client;
  const giveBack = await squeeze(names.stream.ingress);
  const send = () => broker.append(names.ingress("test", "ping"), Buffer.from("{}"), { messageId: "e1" });
  await expect(send()).rejects.toThrow(StreamFullError);
  await giveBack();
  expect(await send()).toBeGreaterThan(0);
});
