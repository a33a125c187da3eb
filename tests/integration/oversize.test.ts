/** What a machine asks for that no message can carry. Invariant: the input is poison and the node lives; nothing is stuck behind it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, emit, raise, sendTo, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { ref } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { MAX_MESSAGE_BYTES } from "../../runtime/limits.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const HUGE = MAX_MESSAGE_BYTES + 1;

const machine = setup({
  types: {
    context: {} as { count: number },
    events: {} as { type: "SEND" | "SEND_NAMELESS" | "LATER" | "EMIT" | "EMIT_BYTES" | "COUNT" | "BIG" },
    emitted: {} as { type: "frame"; data: unknown },
  },
}).createMachine({
  context: { count: 0 },
  on: {
    SEND: {
      actions: sendTo(
        () => ref("big", "other"),
        () => ({ type: "BIG", data: "x".repeat(HUGE) }),
      ),
    },
    SEND_NAMELESS: {
      actions: sendTo(
        () => ref("big", "other"),
        () => ({ type: "" }),
      ),
    },
    LATER: { actions: raise(() => ({ type: "BIG", data: "x".repeat(HUGE) }) as never, { id: "later", delay: 1 }) },
    EMIT: { actions: emit(() => ({ type: "frame" as const, data: "x".repeat(4 * HUGE) })) },
    EMIT_BYTES: { actions: emit(() => ({ type: "frame" as const, data: new Uint8Array(200_000) })) },
    COUNT: { actions: assign({ count: ({ context }) => context.count + 1 }) },
    BIG: {},
  },
});

let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [defineActor({ kind: "big", machine })] });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

const incarnation = () => (cluster.nodes[0] as TestCluster["nodes"][number]).node.incarnation;

test.each(["SEND", "SEND_NAMELESS", "LATER", "EMIT"] as const)("%s of what fits no message is poison", async (type) => {
  const before = incarnation();
  await expect(client.tell("big", `a-${type}`, { type })).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  await client.tell("big", `a-${type}`, { type: "COUNT" });
  expect(await client.query("big", `a-${type}`)).toMatchObject({ context: { count: 1 } });
  await until("the dead letter", async () => (await client.deadLetters()).some(({ id }) => id === `a-${type}`));
  expect(incarnation()).toBe(before);
});

test("an emitted event that grows too large as JSON is left out of the live view and ends nothing", async () => {
  const before = incarnation();
  await client.tell("big", "b", { type: "EMIT_BYTES" });
  await client.tell("big", "b", { type: "COUNT" });
  expect(await client.query("big", "b")).toMatchObject({ context: { count: 1 } });
  expect(incarnation()).toBe(before);
});
