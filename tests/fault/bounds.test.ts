/** One actor's excess on a real server. Invariant: it is refused or carried; the node and the other actors go on. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, setup } from "xstate";
import type { Client, Node } from "../../runtime/api.ts";
import { reply } from "../../runtime/author.ts";
import { connect } from "../../runtime/client.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { PoisonMessageError } from "../../runtime/errors.ts";
import { startNode } from "../../runtime/node.ts";
import pino from "pino";
import { startTestServer, type TestServer } from "../support/nats.ts";

type Event =
  | { readonly type: "DATA"; readonly data?: string }
  | { readonly type: "THROW"; readonly length: number }
  | { readonly type: "REPLY"; readonly length: number };

const taker = defineActor({
  kind: "taker",
  machine: setup({
    types: { context: {} as { n: number }, events: {} as Event },
    actions: {
      count: assign({ n: ({ context }) => context.n + 1 }),
      fail: assign(({ event }) => {
        throw new Error("x".repeat(event.type === "THROW" ? event.length : 0));
      }),
      answer: reply(({ event }: { event: Event }) => "y".repeat(event.type === "REPLY" ? event.length : 0)),
    },
  }).createMachine({
    context: { n: 0 },
    on: { DATA: { actions: "count" }, THROW: { actions: "fail" }, REPLY: { actions: ["count", "answer"] } },
  }),
});

let server: TestServer;
let node: Node;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  node = await startNode({ name: "n1", servers: server.url, kinds: [taker], log: pino({ level: "silent" }) });
  client = await connect({ servers: server.url });
});
afterAll(async () => {
  await client.close();
  await node.stop();
  await server.stop();
});

test("ask() of a machine that throws more than a message holds is refused, and the node goes on", async () => {
  await expect(client.ask(taker, "thrower", { type: "THROW", length: 2_000_000 })).rejects.toThrow(PoisonMessageError);
  await client.ask(taker, "other", { type: "DATA" });
});

test("tell() of more large messages at once than one chunk of history holds is stored and read back", async () => {
  const data = "d".repeat(200_000);
  const count = 30;
  await Promise.all(Array.from({ length: count }, () => client.tell(taker, "large", { type: "DATA", data })));
  expect(await client.history("taker", "large")).toHaveLength(count);
});
