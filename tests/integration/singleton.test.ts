/** Kinds of which the cluster has one. Invariant: it runs without a message, on one node at a time, under a token that grows with each. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { reply } from "../../runtime/author.ts";
import { defineActor, SINGLETON_ID } from "../../runtime/define-actor.ts";
import { AddressError, DefinitionError, DeterminismError } from "../../runtime/errors.ts";
import { fencingToken } from "../../runtime/invocation-scope.ts";
import { onAbort, startCluster, type TestCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** Tokens under which the work was started, in order. */
const tokens: number[] = [];

const machine = setup({
  types: { context: {} as { ticks: number }, events: {} as { type: "TICK" } },
  actors: {
    work: fromPromise(async ({ signal }) => {
      tokens.push(fencingToken());
      await onAbort(signal);
    }),
  },
  actions: {
    tick: assign({ ticks: ({ context }) => context.ticks + 1 }),
    count: reply(({ context }: { context: { ticks: number } }) => context.ticks),
  },
}).createMachine({
  context: { ticks: 0 },
  initial: "on",
  states: { on: { invoke: { src: "work" }, on: { TICK: { actions: ["tick", "count"] } } } },
});
const clerk = defineActor({ kind: "clerk", machine, singleton: true, passivateAfterMs: 1 });
let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [clerk], nodes: 2 });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

const view = () => client.query("clerk", SINGLETON_ID);
const homeOf = async (): Promise<TestNode> => {
  const { node } = await view();
  return cluster.nodes.find((each) => each.node.name === node) as TestNode;
};

test("a singleton runs though nobody sent it a message, and has no other id", async () => {
  const seen = await until("the singleton", () => view().catch(() => undefined));
  expect(seen).toMatchObject({ status: "active", value: "on", revision: 1 });
  expect((await client.history("clerk", SINGLETON_ID)).map(({ event, sender }) => [sender, event.type])).toEqual([
    ["cluster", "control.start"],
  ]);
  await expect(client.tell("clerk", "other", { type: "TICK" })).rejects.toThrow(AddressError);
  await expect(client.query("clerk", "other")).rejects.toThrow('use "main"');
  expect(await client.ask("clerk", SINGLETON_ID, { type: "TICK" })).toBe(1);
});

test("it keeps its state and gets a higher token when its node crashes or leaves", async () => {
  for (const end of ["crash", "stop"] as const) {
    const before = tokens.at(-1) as number;
    const home = await homeOf();
    if (end === "crash") await cluster.crash(home);
    else await home.node.stop();
    const taken = await until("the other node to take it over", async () => {
      const seen = await view().catch(() => undefined);
      return seen !== undefined && seen.node !== home.node.name && seen;
    });
    expect(taken.context).toEqual({ ticks: 1 });
    await until("its work to go on", () => (tokens.at(-1) as number) > before);
    if (end === "crash") await cluster.start(home.node.name);
    else cluster.nodes.splice(cluster.nodes.indexOf(home), 1);
  }
  expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
});

test("a label of the id cannot place it, and a token is only for its work", () => {
  expect(() => defineActor({ kind: "k", machine, singleton: true, placement: { label: "host" } })).toThrow(
    DefinitionError,
  );
  expect(() => fencingToken()).toThrow(DeterminismError);
});
