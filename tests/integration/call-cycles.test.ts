/**
 * Calls that come back to their caller. Invariant: each is answered, or fails at once with the path; none waits for a time-out.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { reply } from "../../runtime/author.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { MAX_CALL_CHAIN } from "../../runtime/limits.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** Above this a call would have waited for something, in ms: a tenth of a call's deadline. */
const AT_ONCE_MS = 1_000;

let server: TestServer;
let cluster: TestCluster;
let client: Client;

type Ask = { readonly type: "CALL"; readonly via: readonly string[]; readonly event: string };
/** Calls the first of `via` with the rest, or with `event` when it is the last, then waits until that one is done. */
type Plan = Omit<Ask, "type">;

interface Context {
  readonly plan: Plan;
  readonly got: unknown;
}

const errorOf = ({ event }: { event: unknown }) => (event as { error: { message: string } }).error.message;

/** Its invocation waits until the one that it called is at rest again: as a caller does that wants a result. */
const call = fromPromise<unknown, Plan>(async ({ input: { via, event }, signal }) => {
  const [id, ...rest] = via as [string, ...string[]];
  const answer = await client.ask(
    "caller",
    id,
    rest.length > 0 ? ({ type: "CALL", via: rest, event } as { type: string }) : { type: event },
  );
  if (rest.length === 0) return answer;
  for await (const view of client.watch("caller", id, { signal })) {
    if (view.value !== "calling") return (view.context as Context).got;
  }
  throw new Error("The watch ended");
});

const kind: ActorKind = defineActor({
  kind: "caller",
  machine: setup({
    types: { context: {} as Context, events: {} as Ask | { type: "PEEK" } | { type: "FINISH" } },
    actors: { call },
    actions: {
      plan: assign({ plan: ({ event }) => event as Ask }),
      keep: assign({ got: ({ event }) => (event as unknown as { output: unknown }).output }),
      fail: assign({ got: (args) => errorOf(args) }),
      answer: reply(() => "peeked"),
    },
  }).createMachine({
    context: { plan: { via: [], event: "PEEK" }, got: null },
    initial: "idle",
    on: { PEEK: { actions: "answer" } },
    states: {
      idle: { on: { CALL: { target: "calling", actions: "plan" }, FINISH: {} } },
      calling: {
        invoke: {
          src: "call",
          input: ({ context }) => context.plan,
          onDone: { target: "idle", actions: "keep" },
          onError: { target: "idle", actions: "fail" },
        },
      },
    },
  }),
});

/** Calls the other of the two without end, each time inside the call before. */
const pingPong = defineActor({
  kind: "ping",
  machine: setup({
    types: { context: {} as { error: string; id: string }, events: {} as { type: "HIT" }, input: {} as { id: string } },
    actors: {
      hit: fromPromise<unknown, string>(({ input }) =>
        client.ask("ping", input === "a" ? "b" : "a", { type: "HIT" } as { type: string }),
      ),
    },
    actions: { fail: assign({ error: (args) => errorOf(args) }) },
  }).createMachine({
    context: ({ input }) => ({ error: "", id: input.id }),
    initial: "idle",
    states: {
      idle: { on: { HIT: "hitting" } },
      hitting: {
        on: { HIT: { target: "hitting", reenter: true } },
        invoke: {
          src: "hit",
          input: ({ context }) => context.id,
          onDone: "idle",
          onError: { target: "failed", actions: "fail" },
        },
      },
      failed: {},
    },
  }),
});

beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [kind, pingPong], nodes: 2 });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

/** What the first of `via` ends with, and after how many ms. */
async function run(first: string, plan: Plan): Promise<{ got: unknown; ms: number }> {
  const startedAt = performance.now();
  await client.tell("caller", first, { type: "CALL", ...plan } as { type: string });
  const view = await until("the outermost call to end", async () => {
    const seen = await client.query("caller", first);
    return seen.value === "idle" && seen.revision > 1 && seen;
  });
  return { got: (view.context as Context).got, ms: performance.now() - startedAt };
}

test("A→B→A is answered while A waits for B: a running invocation keeps no mailbox", async () => {
  const { got, ms } = await run("a1", { via: ["b1", "a1"], event: "PEEK" });
  expect(got).toBe("peeked");
  expect(ms).toBeLessThan(AT_ONCE_MS);
});

test("A→B→A fails at once, with the path, where A's state does nothing on it", async () => {
  const { got, ms } = await run("a2", { via: ["b2", "a2"], event: "FINISH" });
  expect(got).toContain("caller/a2 → caller/b2 → caller/a2 closes a circle");
  expect(ms).toBeLessThan(AT_ONCE_MS);
});

test("A→B→C→A and A→A fail alike", async () => {
  expect((await run("a3", { via: ["b3", "c3", "a3"], event: "FINISH" })).got).toContain(
    "caller/a3 → caller/b3 → caller/c3 → caller/a3 closes",
  );
  expect((await run("a4", { via: ["a4"], event: "FINISH" })).got).toContain("caller/a4 → caller/a4 closes");
});

test("an event that A ignores and nobody of the chain sent is journaled and ignored, as ever", async () => {
  await client.tell("caller", "a6", { type: "CALL", via: ["b6", "c6"], event: "PEEK" } as { type: string });
  await expect(client.ask("caller", "a6", { type: "FINISH" } as { type: string })).resolves.toBeDefined();
});

test(`calls inside calls end with the path when they are more than ${MAX_CALL_CHAIN} deep`, async () => {
  await client.tell("ping", "a", { type: "HIT" });
  const failed = await until("one to fail", async () => {
    const views = await Promise.all(["a", "b"].map((id) => client.query("ping", id).catch(() => undefined)));
    return views.find((view) => view?.value === "failed");
  });
  expect((failed.context as { error: string }).error).toMatch(/ping\/a → ping\/b → ping\/a.* more than 16 deep/);
});
