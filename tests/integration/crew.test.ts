/** Crews on real nodes. Invariant: work is done by whoever is there, and outlives each of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, sendTo, setup } from "xstate";
import { crewKind } from "../../actors/crew.ts";
import { crewWorker, type WorkCall } from "../../actors/crew-worker.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import type { WorkEnded } from "../../actors/messages/crew.ts";
import { ref } from "../../runtime/author.ts";
import type { Client } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { type TestCluster, until, withCluster } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const server: { current: TestServer } = { current: undefined as never };
beforeAll(async () => {
  server.current = await startTestServer();
});
afterAll(() => server.current.stop());

/** Asks a crew for work and keeps what it is told of it. */
const customer = defineActor({
  kind: "customer",
  machine: setup({
    types: {} as {
      context: { readonly ends: readonly WorkEnded[] };
      events: { type: "order"; crew: string; ids: readonly string[] } | WorkEnded;
    },
    actions: {
      keep: assign({
        ends: ({ context, event }) => (event.type === "work.ended" ? [...context.ends, event] : context.ends),
      }),
      ask: sendTo(
        ({ event }) => ref("crew", event.type === "order" ? event.crew : ""),
        ({ event }) => ({ type: "submit", work: { id: event.type === "order" ? event.ids[0] : "", data: 1 } }),
      ),
    },
  }).createMachine({
    context: { ends: [] },
    on: { order: { actions: "ask" }, "work.ended": { actions: "keep" } },
  }),
});

/** Runs under way, by the work's id: the test lets them end. */
class Hands {
  readonly calls: WorkCall[] = [];
  readonly #waiting = new Map<string, (result: unknown) => void>();
  isHeld = true;

  readonly kind = crewWorker({
    kind: "hand",
    capabilities: [{ name: "scan", version: "1.4.0" }],
    run: (call, signal) => {
      this.calls.push(call);
      return new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        if (this.isHeld) this.#waiting.set(call.id, resolve);
        else resolve(call.data);
      });
    },
  });

  finish(id: string, result: unknown): void {
    this.#waiting.get(id)?.(result);
  }
}

const crewOf = async (client: Client, id: string): Promise<CrewContext> =>
  (await client.query(crewKind, id)).context as CrewContext;
const endsOf = async (client: Client, id: string): Promise<readonly WorkEnded[]> =>
  ((await client.query(customer, id)).context as { ends: readonly WorkEnded[] }).ends;

const withHands = (fn: (cluster: TestCluster, client: Client, hands: Hands) => Promise<void>) => {
  const hands = new Hands();
  return withCluster({ server: server.current, kinds: [crewKind, customer, hands.kind] }, (cluster, client) =>
    fn(cluster, client, hands),
  );
};

test("work goes through a crew and its end reaches the actor that asked", async () => {
  await withHands(async (_, client, hands) => {
    hands.isHeld = false;
    await client.ask(crewKind, "night", { type: "declare", plan: { worker: "hand", min: 2, max: 2 } });
    for (const id of ["a", "b", "c"]) await client.tell(customer, "x", { type: "order", crew: "night", ids: [id] });
    const ends = await until("three ends", async () => {
      const all = await endsOf(client, "x");
      return all.length === 3 && all;
    });
    expect(ends.map(({ work, state, result }) => `${work} ${state} ${String(result)}`).toSorted()).toEqual(
      ["a", "b", "c"].map((id) => `${id} done 1`),
    );
    expect(await crewOf(client, "night")).toMatchObject({ running: [], queue: [], counts: { accepted: 3, done: 3 } });
  });
});

test("a crash loses no work: what ran is run again under the same id, what waited is done after", async () => {
  await withHands(async (cluster, client, hands) => {
    await client.ask(crewKind, "night", { type: "declare", plan: { worker: "hand", min: 1, max: 1 } });
    for (const id of ["a", "b"]) await client.tell(customer, "x", { type: "order", crew: "night", ids: [id] });
    await until("the work to start", () => hands.calls.length === 1);
    await cluster.restart();
    await until("the work to start again", () => hands.calls.length === 2);
    expect(hands.calls.map(({ id, attempt }) => [id, attempt])).toEqual([
      ["a", 1],
      ["a", 1],
    ]);
    hands.finish("a", "first");
    await until("the next to start", () => hands.calls.some(({ id }) => id === "b"));
    hands.finish("b", "second");
    const ends = await until("both ends", async () => {
      const all = await endsOf(client, "x");
      return all.length === 2 && all;
    });
    expect(ends.map(({ work, state, result }) => [work, state, result])).toEqual([
      ["a", "done", "first"],
      ["b", "done", "second"],
    ]);
  });
});

test("a worker that does not answer is replaced, and its run is aborted", async () => {
  await withHands(async (_, client, hands) => {
    const plan = { worker: "hand", min: 1, max: 1, attemptMs: 200, attempts: 2 };
    await client.ask(crewKind, "night", { type: "declare", plan });
    await client.tell(customer, "x", { type: "order", crew: "night", ids: ["a"] });
    await until("the second attempt", () => hands.calls.some(({ attempt }) => attempt === 2));
    hands.finish("a", "at last");
    await until("the end", async () => (await endsOf(client, "x")).length === 1);
    expect(await endsOf(client, "x")).toMatchObject([{ work: "a", state: "done", result: "at last" }]);
    const { members, counts } = await crewOf(client, "night");
    expect(members.map(({ name }) => name)).toEqual(["hand/night:1"]);
    expect(counts).toMatchObject({ lostWorkers: 1 });
    expect((await client.query("hand", "night:0")).value).toBe("idle");
  });
});

test("a crew grows under a backlog and shrinks when it is gone, in bounds and by its plan's times", async () => {
  await withHands(async (_, client, hands) => {
    const plan = { worker: "hand", min: 1, max: 3, backlogPerWorker: 1, growAfterMs: 100, shrinkAfterMs: 200 };
    await client.ask(crewKind, "night", { type: "declare", plan });
    const ids = Array.from({ length: 9 }, (_each, i) => `w${i}`);
    for (const id of ids) await client.tell(customer, "x", { type: "order", crew: "night", ids: [id] });
    await until("three at work", () => hands.calls.length === 3);
    hands.isHeld = false;
    for (const id of ids) hands.finish(id, 1);
    await until("one left", async () => (await crewOf(client, "night")).members.length === 1);
    const { decisions, counts } = await crewOf(client, "night");
    expect(decisions.map(({ from, to }) => [from, to])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 2],
      [2, 1],
    ]);
    expect(counts).toMatchObject({ accepted: 9, done: 9 });
  });
});
