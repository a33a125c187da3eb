/** Whatever users' code throws. Invariant: it becomes the cause of a poison message or the error of an invocation; the process lives. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const circular: Record<string, unknown> = {};
circular["self"] = circular;

/** What JavaScript lets code throw, by name. */
const THROWN: Readonly<Record<string, unknown>> = {
  bare: Object.create(null),
  circular,
  bigint: 10n,
  symbol: Symbol("s"),
  revoked: (() => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  })(),
  hostile: {
    get message(): string {
      throw new Error("no message");
    },
  },
  numbered: Object.assign(new Error("x"), { message: 5, name: 7 }),
  nothing: undefined,
};

const machine = setup({
  types: { context: {} as { error: unknown }, events: {} as { type: "THROW" | "WORK"; what: string } },
  actors: {
    work: fromPromise<void, string>(({ input }) => Promise.reject(THROWN[input] as Error)),
  },
}).createMachine({
  context: { error: null },
  initial: "idle",
  states: {
    idle: {
      on: {
        THROW: {
          actions: assign(({ event }) => {
            throw THROWN[event.what] as Error;
          }),
        },
        WORK: "working",
      },
    },
    working: {
      invoke: {
        src: "work",
        input: ({ event }) => event.what,
        onError: { target: "idle", actions: assign({ error: ({ event }) => event.error }) },
      },
    },
  },
});

let server: TestServer;
let cluster: TestCluster;
let client: Client;
const unhandled: unknown[] = [];
const note = (error: unknown) => void unhandled.push(error);

beforeAll(async () => {
  process.prependListener("uncaughtException", note).prependListener("unhandledRejection", note);
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [defineActor({ kind: "thrower", machine })] });
  client = cluster.client;
});
afterAll(async () => {
  process.off("uncaughtException", note).off("unhandledRejection", note);
  await cluster.stop();
  await server.stop();
});

test.each(Object.keys(THROWN))("a transition that throws a %s value is poison", async (what) => {
  const thrown = client.ask("thrower", `t-${what}`, { type: "THROW", what } as never, { deadlineMs: 2_000 });
  await expect(thrown).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  await until("the dead letter", async () => (await client.deadLetters()).some(({ id }) => id === `t-${what}`));
  expect(unhandled).toEqual([]);
});

test.each(Object.keys(THROWN))("an invocation that rejects with a %s value has failed", async (what) => {
  await client.tell("thrower", `w-${what}`, { type: "WORK", what } as never);
  await until("the machine to see the error", async () => {
    const { value, context } = await client.query("thrower", `w-${what}`);
    return value === "idle" && (context as { error: unknown }).error !== null;
  });
  expect(unhandled).toEqual([]);
});
