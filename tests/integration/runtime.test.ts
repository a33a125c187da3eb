/** The promises of the runtime's face on a real server. Invariant: what a client is told is so, whoever is killed meanwhile. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assign, fromPromise, raise, sendTo, setup } from "xstate";
import type { ActorView, Client } from "../../runtime/api.ts";
import { ref, reply } from "../../runtime/author.ts";
import { connect } from "../../runtime/client.ts";
import { type ActorOptions, defineActor } from "../../runtime/define-actor.ts";
import type { EventLike } from "../../runtime/envelope.ts";
import * as errors from "../../runtime/errors.ts";
import { STAY_FOR_TIMER_MS } from "../../runtime/passivation.ts";
import type { Priority } from "../../runtime/priority.ts";
import { onAbort, startCluster, type TestCluster, until, withCluster } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const shared: { server: TestServer } = { server: undefined as never };
beforeAll(async () => {
  shared.server = await startTestServer();
});
afterAll(() => shared.server.stop());

interface Count {
  readonly n: number;
  readonly log: readonly string[];
}

const countMachine = setup({ types: { context: {} as Count, events: {} as EventLike } }).createMachine({
  context: { n: 0, log: [] },
  initial: "on",
  states: {
    on: {
      on: {
        INC: { actions: [assign({ n: ({ context }) => context.n + 1 }), reply(({ context }) => ({ n: context.n }))] },
        NOTE: { actions: assign({ log: ({ context, event }) => [...context.log, String(event["text"])] }) },
        THROW: {
          actions: [
            assign({ n: 1_000 }),
            assign(({ event }) => {
              throw new RangeError(typeof event["why"] === "string" ? event["why"] : "Bad number");
            }),
          ],
        },
        HOLD: { actions: assign({ log: ({ event }) => [event["item"] as string] }) },
        LATER: { actions: raise(() => ({ type: "INC" }), { delay: ({ event }) => Number(event["ms"]) }) },
        LATER_ALL: {
          actions: [
            raise({ type: "INC" }, { delay: 1 }),
            raise({ type: "INC" }, { delay: 300 }),
            raise({ type: "INC" }, { delay: 600 }),
          ],
        },
        TELL: {
          actions: sendTo(
            ({ event }) => ref(String(event["kind"]), String(event["id"])),
            ({ event }) => event["event"] as EventLike,
          ),
        },
        END: "off",
        "actor.failed": {
          actions: assign({
            log: ({ context, event }) => [...context.log, `${String(event["id"])}: ${String(event["reason"])}`],
          }),
        },
      },
    },
    off: { type: "final" },
  },
});
const kindOf = (kind: string, options: Partial<ActorOptions<typeof countMachine>> = {}) =>
  defineActor({ kind, machine: countMachine, ...options });
const counter = kindOf("counter");
const contextOf = async (client: Client, id: string, kind = "counter"): Promise<Count> =>
  (await client.query(kind, id)).context as Count;

describe("a repeated call", () => {
  test("ask() with the same sender and number has one effect and one reply, after a crash too", () =>
    withCluster({ server: shared.server, kinds: [counter] }, async (cluster, client) => {
      const from = { sender: "pump-1", seq: 1, low: 1 };
      const call = () => client.ask("counter", "a", { type: "INC" }, { from });
      expect(await Promise.all([call(), call(), call()])).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }]);
      await cluster.restart();
      expect(await call()).toEqual({ n: 1 });
      await client.history("counter", "a"); // stored: now the answer is in the snapshot
      await cluster.restart();
      expect(await call()).toEqual({ n: 1 });
      expect(await client.ask("counter", "a", { type: "INC" }, { from: { ...from, seq: 2, low: 2 } })).toEqual({
        n: 2,
      });
      await expect(call()).rejects.toMatchObject({ code: "DEADLINE" }); // settled long ago: whether it was taken is forgotten
      expect((await contextOf(client, "a")).n).toBe(2);
    }));

  test("calls in flight during a crash take effect once each", () =>
    withCluster({ server: shared.server, kinds: [counter] }, async (cluster, client) => {
      const calls = Array.from({ length: 300 }, (_, i) => client.ask("counter", `k${i % 7}`, { type: "INC" }));
      await calls[0];
      const rest = Promise.all(calls);
      await cluster.restart();
      await rest;
      const counts = await Promise.all(Array.from({ length: 7 }, (_, i) => contextOf(client, `k${i}`)));
      expect(counts.reduce((sum, { n }) => sum + n, 0)).toBe(300);
    }));

  test("a node of another name takes over by the lease, and a watch sees both", () =>
    withCluster({ server: shared.server, kinds: [counter], nodes: 2 }, async (cluster, client) => {
      await until("both nodes own shards", () => cluster.nodes.every(({ node }) => node.ownedShards().length > 0));
      const [first] = cluster.nodes;
      const id = await until("an actor of the first node", () =>
        Array.from({ length: 50 }, (_, i) => `k${i}`).find((each) => first?.node.owns({ kind: "counter", id: each })),
      );
      const stop = new AbortController();
      const seen: ActorView[] = [];
      const watching = (async () => {
        for await (const view of client.watch("counter", id, { signal: stop.signal })) seen.push(view);
      })();
      await client.tell("counter", id, { type: "INC" });
      await until("the first view", () => seen.length > 0);
      await cluster.crash(first as never);
      await client.tell("counter", id, { type: "INC" });
      await until("the view of the new owner", () => seen.at(-1)?.revision === 2);
      expect(seen.at(-1)).toMatchObject({ node: "n2", context: { n: 2 } });
      expect(seen.map(({ revision }) => revision)).toEqual(
        seen.map(({ revision }) => revision).toSorted((a, b) => a - b),
      );
      stop.abort();
      await watching;
    }));
});

describe("poison", () => {
  const boss = kindOf("boss");
  const kinds = [
    counter,
    boss,
    kindOf("fresh", { supervision: { strategy: "restart" } }),
    kindOf("frail", { supervision: { strategy: "stop" } }),
    kindOf("junior", { supervision: { strategy: "escalate", supervisor: () => ({ kind: "boss", id: "b" }) } }),
    kindOf("fussy", { supervision: { strategy: "resume", intensity: 2, periodMs: 60_000 } }),
  ];
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startCluster({ server: shared.server, kinds });
  });
  afterAll(() => cluster.stop());
  const poison = (kind: string, id: string) =>
    expect(cluster.client.ask(kind, id, { type: "THROW" })).rejects.toThrow(errors.PoisonMessageError);

  test("goes to the dead letters with its cause, the state stays, after a crash too", async () => {
    const { client } = cluster;
    await client.ask("counter", "p", { type: "INC" });
    await expect(client.ask("counter", "p", { type: "THROW", why: "Not a number" } as never)).rejects.toThrow(
      /dead letters: RangeError: Not a number/,
    );
    await cluster.restart();
    expect(await contextOf(client, "p")).toEqual({ n: 1, log: [] });
    const letters = await until("the dead letter", async () => {
      const found = (await client.deadLetters()).filter(({ kind, id }) => kind === "counter" && id === "p");
      return found.length > 0 && found;
    });
    expect(letters).toMatchObject([
      { reason: "poison", cause: "RangeError: Not a number", event: { type: "THROW", why: "Not a number" } },
    ]);
    expect((await client.history("counter", "p")).map(({ poison: cause }) => cause)).toEqual([
      undefined,
      "RangeError: Not a number",
    ]);
  });

  test("resume goes on, restart begins anew, stop ends", async () => {
    const { client } = cluster;
    for (const kind of ["counter", "fresh", "frail"]) {
      await client.ask(kind, "s", { type: "INC" });
      await poison(kind, "s");
    }
    expect(await client.query("counter", "s")).toMatchObject({ status: "active", context: { n: 1 }, revision: 2 });
    expect(await client.query("fresh", "s")).toMatchObject({ status: "active", context: { n: 0 }, revision: 2 });
    expect(await client.query("frail", "s")).toMatchObject({
      status: "stopped",
      context: { n: 1 },
      error: "RangeError: Bad number",
    });
    await expect(client.tell("frail", "s", { type: "INC" })).rejects.toThrow(errors.ActorDoneError);
    await expect(client.tell("frail", "s", { type: "INC" })).rejects.toThrow(/stopped \(RangeError: Bad number\)/);
  });

  test("escalate tells the supervisor once and stops", async () => {
    await poison("junior", "j");
    const { log } = await until("the supervisor hears", async () => {
      const heard = await contextOf(cluster.client, "b", "boss").catch(() => undefined);
      return heard !== undefined && heard.log.length > 0 && heard;
    });
    expect(log).toEqual(["j: RangeError: Bad number"]);
    expect((await cluster.client.query("junior", "j")).status).toBe("stopped");
  });

  test("more of it than the intensity puts the actor into quarantine, through a crash too", async () => {
    for (let i = 0; i < 3; i++) await poison("fussy", "q");
    await cluster.restart();
    expect(await cluster.client.query("fussy", "q")).toMatchObject({
      status: "quarantined",
      error: expect.stringContaining("quarantined after 3") as string,
    });
  });

  test("a message to an actor that refuses it goes to the dead letters as refused", async () => {
    await cluster.client.tell("counter", "t", {
      type: "TELL",
      kind: "counter",
      id: "u",
      event: { type: "NOPE" },
    } as never);
    const letter = await until("the dead letter", async () =>
      (await cluster.client.deadLetters()).find(({ id }) => id === "u"),
    );
    expect(letter).toMatchObject({
      reason: "refused",
      sender: "counter/t",
      cause: expect.stringContaining("UNKNOWN_EVENT") as string,
    });
  });

  test("a cause of a megabyte does not stop the node", async () => {
    const { client } = cluster;
    const huge = setup({}).createMachine({
      on: {
        BIG: {
          actions: assign(() => {
            throw new Error("x".repeat(1_100_000));
          }),
        },
      },
    });
    const other = await startCluster({
      server: shared.server,
      kinds: [defineActor({ kind: "huge", machine: huge }), counter],
      verifyDeterminism: false,
    });
    try {
      await expect(other.client.ask("huge", "a", { type: "BIG" }, { deadlineMs: 2_000 })).rejects.toThrow(
        errors.PoisonMessageError,
      );
      await other.client.ask("counter", "a", { type: "INC" }, { deadlineMs: 2_000 });
    } finally {
      // A node that cannot commit cannot drain either.
      for (const node of [...other.nodes]) await other.crash(node);
      await other.stop();
    }
    await client.ask("counter", "after", { type: "INC" });
  });
});

describe("timers", () => {
  test("fire though every node was down, once each, in order", () =>
    withCluster({ server: shared.server, kinds: [counter] }, async (cluster, client) => {
      await client.tell("counter", "a", { type: "LATER_ALL" });
      await cluster.nodes[0]?.node.stop();
      cluster.nodes.length = 0;
      await cluster.start("n1");
      const done = await until("all fired", async () => {
        const view = await client.query("counter", "a");
        return (view.context as Count).n === 3 && view;
      });
      expect(done.revision).toBe(4);
    }));

  test("a passivated actor is woken by the server's schedule, though its node went away meanwhile", () => {
    const behindMs = STAY_FOR_TIMER_MS - 500;
    const kinds = [kindOf("sleeper", { passivateAfterMs: 50, snapshotEvery: 1 })];
    // The nodes' clocks are behind, so what is due soon by the server's clock is far off for them, and the actor leaves.
    return withCluster({ server: shared.server, kinds, skewMs: -behindMs }, async (cluster, client) => {
      await client.tell("sleeper", "a", { type: "LATER", ms: STAY_FOR_TIMER_MS + 1_500 } as never);
      await until("passivated", () => cluster.nodes[0]?.node.info().activations === 0);
      expect(await client.list("sleeper")).toEqual([{ kind: "sleeper", id: "a", node: null }]);
      await cluster.nodes[0]?.node.stop();
      cluster.nodes.length = 0;
      cluster.skewMs = 0; // From now on it is as late here as there.
      const { node } = await cluster.start("n1");
      expect(node.info().activations).toBe(0);
      await until("woken", () => node.info().activations === 1);
      await until("fired", async () => (await contextOf(client, "a", "sleeper")).n === 1);
    });
  });
});

describe("invocations", () => {
  const runs: { sessionId: string; reason?: unknown }[] = [];
  const work = fromPromise(async ({ signal, self }) => {
    const run: { sessionId: string; reason?: unknown } = { sessionId: self.sessionId };
    runs.push(run);
    await onAbort(signal);
    run.reason = signal.reason;
    throw signal.reason as Error;
  });
  const machine = setup({
    actors: { work },
    types: { context: {} as { ended: unknown[]; rounds: number }, events: {} as EventLike },
  }).createMachine({
    context: { ended: [], rounds: 0 },
    initial: "idle",
    states: {
      idle: { on: { START: "working" } },
      working: {
        entry: assign({ rounds: ({ context }) => context.rounds + 1 }),
        invoke: {
          id: "w",
          src: "work",
          onError: {
            target: "idle",
            actions: assign({
              ended: ({ context, event }) => [...context.ended, (event.error as { code?: string }).code],
            }),
          },
        },
        on: { LEAVE: "idle", STOP: "stopped", AGAIN: { target: "working", reenter: true } },
      },
      stopped: { on: { START: "working" } },
    },
  });
  const kinds = [
    defineActor({ kind: "worker", machine }),
    defineActor({ kind: "hasty", machine, invocationDeadlineMs: 100 }),
    counter,
  ];
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startCluster({ server: shared.server, kinds });
  });
  afterAll(() => cluster.stop());
  const running = async (id: string, kind = "worker") => {
    const before = runs.length;
    await cluster.client.tell(kind, id, { type: "START" });
    return await until("it runs", () => runs[before]);
  };

  test("abort() fires the signal at once and records the event", async () => {
    const run = await running("a");
    await cluster.client.abort("worker", "a", { type: "STOP" });
    await until("aborted", () => run.reason !== undefined);
    const view = await until("settled", async () => {
      const now = await cluster.client.query("worker", "a");
      return now.value !== "working" && now;
    });
    expect(run.reason).toBeInstanceOf(errors.AbortedError);
    expect(["stopped", "idle"]).toContain(view.value);
  });

  test("abort() of an event that the machine does not know changes nothing", async () => {
    const run = await running("b");
    await expect(cluster.client.abort("worker", "b", { type: "NOPE" })).rejects.toThrow(errors.UnknownEventError);
    await cluster.client.tell("worker", "b", { type: "START" }); // ignored: later than whatever the abort began
    expect(run.reason).toBe(undefined);
    expect((await cluster.client.query("worker", "b")).value).toBe("working");
  });

  test("abort() that is repeated does not stop what began after it", async () => {
    const { client } = cluster;
    const from = { sender: "panel", seq: 1, low: 1 };
    const first = await running("c");
    await client.abort("worker", "c", { type: "AGAIN" }, { from });
    await until("the first ended", () => first.reason !== undefined);
    const second = await until("the second runs", () => {
      const last = runs.at(-1);
      return last !== first && last;
    });
    await client.abort("worker", "c", { type: "AGAIN" }, { from }); // as a client does whose answer was lost
    await client.tell("worker", "c", { type: "START" });
    expect(second.reason).toBe(undefined);
  });

  test("one that runs beyond its deadline fails with it", async () => {
    const run = await running("d", "hasty");
    const view = await until("back", async () => {
      const now = await cluster.client.query("hasty", "d");
      return now.value === "idle" && now;
    });
    expect(run.reason).toBeInstanceOf(errors.DeadlineError);
    expect(view.context).toEqual({ ended: ["DEADLINE"], rounds: 1 });
  });

  test("one whose state is left is aborted, and its late end is no event", async () => {
    const run = await running("e");
    await cluster.client.tell("worker", "e", { type: "LEAVE" });
    await until("aborted", () => run.reason !== undefined);
    await cluster.client.tell("worker", "e", { type: "LEAVE" });
    expect(await cluster.client.query("worker", "e")).toMatchObject({
      value: "idle",
      context: { ended: [] },
      revision: 3,
    });
  });

  test("one that ran at a drain is restarted by the next owner under the same key", async () => {
    const run = await running("f");
    const [first] = cluster.nodes.splice(0);
    await first?.node.stop();
    const count = runs.length;
    await cluster.start("n1");
    const again = await until("restarted", () =>
      runs.slice(count).find(({ sessionId }) => sessionId === run.sessionId),
    );
    expect(again.reason).toBe(undefined);
    expect((await cluster.client.query("worker", "f")).value).toBe("working");
  });
});

describe("reads", () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startCluster({ server: shared.server, kinds: [counter] });
  });
  afterAll(() => cluster.stop());

  test("query() creates no actor", async () => {
    const { client } = cluster;
    for (let i = 0; i < 3; i++)
      await expect(client.query("counter", "ghost")).rejects.toThrow(errors.ActorNotFoundError);
    expect(await client.list("counter")).toEqual([]);
    expect(cluster.nodes[0]?.node.info()).toMatchObject({ activations: 0, inputs: 0 });
  });

  test("list() names actors in memory and stored ones, history() every input in order", async () => {
    const { client } = cluster;
    for (const id of ["x", "y"]) await client.tell("counter", id, { type: "INC" });
    await client.tell("counter", "x", { type: "NOTE", text: "hi" } as never);
    expect((await client.list("counter")).map(({ id, node }) => [id, node])).toEqual([
      ["x", "n1"],
      ["y", "n1"],
    ]);
    const entries = await client.history("counter", "x");
    expect(entries.map(({ revision, event }) => [revision, event])).toEqual([
      [1, { type: "INC" }],
      [2, { type: "NOTE", text: "hi" }],
    ]);
    await expect(client.history("counter", "nobody")).rejects.toThrow(errors.ActorNotFoundError);
    expect(await client.list("other")).toEqual([]);
  });

  test("history() has all inputs of an actor that took large messages in a burst", async () => {
    const { client } = cluster;
    const item = "x".repeat(200 * 1_024);
    await Promise.all(
      Array.from({ length: 40 }, () => client.tell("counter", "large", { type: "HOLD", item } as never)),
    );
    const entries = await Promise.race([
      client.history("counter", "large"),
      until("the history is written", () => undefined, 8_000),
    ]);
    expect(entries).toHaveLength(40);
  });

  test("watch() of a kind that nobody hosts throws", async () => {
    const stop = new AbortController();
    const watching = (async () => {
      for await (const view of cluster.client.watch("nope", "a", { signal: stop.signal })) return view;
      return undefined;
    })();
    const watched = Promise.race([watching, until("the watch ends", () => undefined, 1_000)]).finally(() =>
      stop.abort(),
    );
    await expect(watched).rejects.toThrow(errors.UnknownKindError);
  });

  test("watch() ends when its reader breaks", async () => {
    const { client } = cluster;
    const stop = new AbortController();
    await client.tell("counter", "w", { type: "INC" });
    const reading = (async () => {
      for await (const view of client.watch("counter", "w", { signal: stop.signal })) return view;
      return undefined;
    })();
    const view = await Promise.race([reading, until("the reader has left", () => undefined, 1_000)]).finally(() =>
      stop.abort(),
    );
    expect(view).toMatchObject({ context: { n: 1 } });
  });
});

describe("versions", () => {
  interface V2 {
    readonly count: number;
  }
  const v1 = defineActor({ kind: "doc", machine: countMachine });
  const machine2 = setup({ types: { context: {} as V2, events: {} as EventLike } }).createMachine({
    context: { count: 0 },
    initial: "on",
    states: {
      on: {
        on: {
          INC: {
            actions: [assign({ count: ({ context }) => context.count + 1 }), reply(({ context }) => context.count)],
          },
        },
      },
    },
  });
  const v2 = defineActor({ kind: "doc", machine: machine2, version: 2 });
  const migrating = defineActor({
    kind: "doc",
    machine: machine2,
    version: 2,
    migrate: (stored, from) => ({ ...stored, context: { count: (stored.context as Count).n + from * 10 } }),
  });

  test("an older state without migrate is refused and kept; with migrate it goes on", () =>
    withCluster({ server: shared.server, kinds: [v1, counter] }, async (cluster, client) => {
      await client.tell("doc", "a", { type: "INC" });
      await cluster.nodes[0]?.node.stop();
      cluster.nodes.length = 0;
      await cluster.start("n1", [v2, counter]);
      await expect(client.ask("doc", "a", { type: "INC" })).rejects.toThrow(errors.VersionError);
      await expect(client.query("doc", "a")).rejects.toThrow(
        /stored in version 1, the code has 2: give defineActor a migrate function/,
      );
      expect(await client.ask("counter", "other", { type: "INC" })).toEqual({ n: 1 });
      expect(await client.ask("doc", "new", { type: "INC" })).toBe(1);
      await cluster.restart([migrating, counter]);
      expect(await client.ask("doc", "a", { type: "INC" })).toBe(12);
      expect((await client.query("doc", "a")).version).toBe(2);
    }));

  test("an actor that cannot be migrated does not keep a node from taking over the others", () =>
    withCluster({ server: shared.server, kinds: [v1, counter] }, async (cluster, client) => {
      await client.tell("doc", "a", { type: "INC" });
      await client.history("doc", "a"); // a snapshot of version 1 …
      await client.tell("doc", "a", { type: "INC" }); // … and an input that it does not cover
      await client.tell("counter", "b", { type: "INC" });
      await cluster.restart([v2, counter]);
      try {
        expect(await client.ask("counter", "b", { type: "INC" }, { deadlineMs: 3_000 })).toEqual({ n: 2 });
        await expect(client.ask("doc", "a", { type: "INC" }, { deadlineMs: 1_000 })).rejects.toThrow(
          errors.VersionError,
        );
      } finally {
        for (const node of [...cluster.nodes]) await cluster.crash(node);
      }
      await cluster.start("n1", [migrating, counter]);
      expect(await client.ask("doc", "a", { type: "INC" })).toBe(13); // 1 migrated to 11, the waiting one, and this
    }));
});

describe("calls", () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await startCluster({ server: shared.server, kinds: [counter] });
  });
  afterAll(() => cluster.stop());

  test("messages that wait are served by lane", async () => {
    const { client } = cluster;
    // They arrive while the actor is still being loaded.
    const lanes: Priority[] = ["low", "normal", "high", "critical", "low", "critical"];
    await Promise.all(
      lanes.map((priority, i) =>
        client.tell("counter", "lanes", { type: "NOTE", text: `${priority} ${i}` } as never, { priority }),
      ),
    );
    expect((await contextOf(client, "lanes")).log).toEqual([
      "critical 3",
      "critical 5",
      "high 2",
      "normal 1",
      "low 0",
      "low 4",
    ]);
  });

  test.each([
    ["an unknown kind", "nope", "a", { type: "INC" }, errors.UnknownKindError],
    ["an unknown event", "counter", "a", { type: "NOPE" }, errors.UnknownEventError],
    ["a forged completion", "counter", "a", { type: "xstate.done.actor.w", output: 1 }, errors.UnknownEventError],
    ["a forged timer", "counter", "a", { type: "xstate.after.1.(machine).on" }, errors.UnknownEventError],
    ["a forged init", "counter", "a", { type: "xstate.init" }, errors.UnknownEventError],
    ["an id with a dot", "counter", "a.b", { type: "INC" }, errors.AddressError],
    ["an id with a wildcard", "counter", "*", { type: "INC" }, errors.AddressError],
    ["an id with >", "counter", ">", { type: "INC" }, errors.AddressError],
    ["an id with a space", "counter", "a b", { type: "INC" }, errors.AddressError],
    ["an empty id", "counter", "", { type: "INC" }, errors.AddressError],
    ["an id of 300 characters", "counter", "a".repeat(300), { type: "INC" }, errors.AddressError],
    ["an id that is no text", "counter", 5, { type: "INC" }, errors.AddressError],
    ["a kind with a dot", "coun.ter", "a", { type: "INC" }, errors.AddressError],
    ["no event", "counter", "a", undefined, errors.PayloadError],
    ["an event without a type", "counter", "a", {}, errors.PayloadError],
    ["a function in it", "counter", "a", { type: "INC", f: () => 1 }, errors.PayloadError],
    ["an event that is too large", "counter", "a", { type: "INC", text: "x".repeat(300 * 1_024) }, errors.PayloadError],
  ])("%s is refused at once with a clear error", async (_what, kind, id, event, error) => {
    const call = async () => await cluster.client.ask(kind, id as string, event as never, { deadlineMs: 2_000 });
    await expect(call()).rejects.toThrow(error);
  });

  test("a cyclic payload is refused by its path", async () => {
    const event: Record<string, unknown> = { type: "INC" };
    event["self"] = event;
    await expect(cluster.client.ask("counter", "a", event as never)).rejects.toThrow(
      /The event\.self\.self.*refers to itself/,
    );
  });

  test.each([[0], [-5], [Number.NaN], [200_000]])("the deadline %d is refused", async (deadlineMs) => {
    await expect(cluster.client.ask("counter", "a", { type: "INC" }, { deadlineMs })).rejects.toThrow(
      /give 1 to 120000 ms/,
    );
  });

  test.each([
    ["a sender of ten thousand characters", { sender: "s".repeat(10_000), seq: 1, low: 1 }],
    ["a negative number", { sender: "s", seq: -1, low: 1 }],
    ["a broken number", { sender: "s", seq: 1.5, low: 1 }],
  ])("a from with %s is refused", async (_what, from) => {
    const id = `from-${from.sender.length}-${from.seq}`.replace(".", "_");
    await expect(cluster.client.ask("counter", id, { type: "INC" }, { from, deadlineMs: 1_000 })).rejects.toThrow(
      errors.TroupeError,
    );
    await expect(cluster.client.query("counter", id)).rejects.toThrow(errors.ActorNotFoundError);
  });

  test("none of the refused left a trace", async () => {
    await expect(cluster.client.query("counter", "a")).rejects.toThrow(errors.ActorNotFoundError);
  });

  test("a call ends at its deadline, and by its signal, though nobody serves", async () => {
    const lonely = await startCluster({ server: shared.server, kinds: [counter] });
    const client = await connect({ servers: shared.server.url, namespace: lonely.namespace });
    for (const { node } of lonely.nodes.splice(0)) await node.stop();
    const began = performance.now();
    await expect(client.ask("counter", "a", { type: "INC" }, { deadlineMs: 200 })).rejects.toThrow(
      errors.DeadlineError,
    );
    expect(performance.now() - began).toBeLessThan(1_000);
    const stop = new AbortController();
    const call = client.ask("counter", "a", { type: "INC" }, { signal: stop.signal });
    stop.abort();
    await expect(call).rejects.toThrow(errors.AbortedError);
    await expect(client.ask("counter", "a", { type: "INC" }, { signal: stop.signal })).rejects.toThrow(
      errors.AbortedError,
    );
    await client.close();
    await lonely.stop();
  });
});
