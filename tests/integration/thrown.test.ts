/** Whatever users' code throws. Invariant: it becomes the cause of a poison message or the error of an invocation; the process lives. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { startWatchedCluster, until, type WatchedCluster } from "../support/cluster.ts";

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

let watched: WatchedCluster;
let client: Client;
beforeAll(async () => {
  watched = await startWatchedCluster([defineActor({ kind: "thrower", machine })]);
  client = watched.client;
});
afterAll(() => watched.stop());

test.each(Object.keys(THROWN))("a transition that throws a %s value is poison", async (what) => {
  const thrown = client.ask("thrower", `t-${what}`, { type: "THROW", what } as never, { deadlineMs: 2_000 });
  await expect(thrown).rejects.toMatchObject({ code: "POISON_MESSAGE" });
  await until("the dead letter", async () => (await client.deadLetters()).some(({ id }) => id === `t-${what}`));
  expect(watched.crashes).toEqual([]);
});

test.each(Object.keys(THROWN))("an invocation that rejects with a %s value has failed", async (what) => {
  await client.tell("thrower", `w-${what}`, { type: "WORK", what } as never);
  await until("the machine to see the error", async () => {
    const { value, context } = await client.query("thrower", `w-${what}`);
    return value === "idle" && (context as { error: unknown }).error !== null;
  });
  expect(watched.crashes).toEqual([]);
});
