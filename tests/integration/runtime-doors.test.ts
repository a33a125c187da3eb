/** Whatever arrives at a node's raw subjects. Invariant: it is answered with an error or ignored; the node lives, nothing is journaled. */
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { assign, fromPromise, setup } from "xstate";
import { shardOf } from "../../runtime/address.ts";
import type { Client } from "../../runtime/api.ts";
import { encode } from "../../runtime/codec.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { decodeAnswer, type EventLike, Tag } from "../../runtime/envelope.ts";
import { TroupeError } from "../../runtime/errors.ts";
import { onAbort, startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const signals: AbortSignal[] = [];
const machine = setup({
  actors: {
    work: fromPromise(async ({ signal }) => {
      signals.push(signal);
      await onAbort(signal);
      throw signal.reason as Error;
    }),
  },
  types: { context: {} as { kept: unknown }, events: {} as EventLike },
}).createMachine({
  context: { kept: null },
  initial: "on",
  states: {
    on: {
      invoke: { id: "w", src: "work" },
      after: { 600_000: "late" },
      on: { KEEP: { actions: assign({ kept: ({ event }) => event["item"] }) } },
    },
    late: {},
  },
});

/** How long a door may keep silent, in ms. */
const ANSWER_MS = 1_000;

describe("the raw subjects of a node", () => {
  let server: TestServer;
  let cluster: TestCluster;
  let client: Client;
  let inputs = 0;
  /** Each test has an actor of its own, so that one broken door is one failure. */
  let id = "a0";
  let tests = 0;

  beforeAll(async () => {
    server = await startTestServer();
    cluster = await startCluster({ server, kinds: [defineActor({ kind: "door", machine })] });
    client = cluster.client;
  });
  afterAll(async () => {
    for (const node of [...cluster.nodes]) await cluster.crash(node); // a node that a door broke does not drain
    await cluster.stop();
    await server.stop();
  });
  const node = () => {
    const [first] = cluster.nodes;
    if (first === undefined) throw new Error("No node");
    return first.node;
  };
  beforeEach(async () => {
    id = `a${++tests}`;
    const running = signals.length;
    await client.tell("door", id, { type: "KEEP", item: 1 } as never);
    await until("its work runs", () => signals.length > running);
    ({ inputs } = node().info());
  });

  const subject = (lane: "act" | "query" | "control", kind = "door") =>
    client.names[lane](shardOf(kind, id, client.shards), kind, id);

  /** The door answers with an error, and nothing was written. */
  async function refused(to: string, bytes: Uint8Array): Promise<TroupeError> {
    const answer = await client.broker.request(to, bytes, ANSWER_MS);
    let thrown: unknown;
    try {
      decodeAnswer(answer);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(TroupeError);
    return thrown as TroupeError;
  }

  async function unharmed(): Promise<void> {
    expect(node().info().inputs).toBe(inputs);
    expect(await client.query("door", id)).toMatchObject({
      status: "active",
      value: "on",
      revision: 1,
      context: { kept: 1 },
    });
  }

  test.each(["act", "control"] as const)("random bytes to %s are refused", async (lane) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await refused(subject(lane), bytes);
      }),
      { numRuns: 150 },
    );
    await unharmed();
    expect(signals.at(-1)?.aborted).toBe(false);
  });

  test("random bytes to a query are answered, with the state or an error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), async (bytes) => {
        await client.broker.request(subject("query"), bytes, ANSWER_MS);
      }),
      { numRuns: 150 },
    );
    await unharmed();
  });

  test("random bytes to the node's own subject are answered", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
        await client.broker.request(client.names.node("n1"), bytes, ANSWER_MS);
      }),
      { numRuns: 100 },
    );
    await unharmed();
  });

  const fields = (patch: Record<number, unknown>) =>
    [1, Tag.Ask, "raw-1", 1, 1, 0, 2, { type: "KEEP", item: 2 }].map((field, index) =>
      index in patch ? patch[index] : field,
    );

  test("random MessagePack in each field of a message is refused", async () => {
    const value = fc.jsonValue({ maxDepth: 2 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 7 }), value, async (at, random) => {
        const isTaken =
          (at === 2 && typeof random === "string") ||
          (at >= 3 && at <= 6 && typeof random === "number") ||
          (at <= 1 && (random === 1 || random === 0));
        fc.pre(!isTaken);
        await refused(subject("act"), encode(fields({ [at]: random })));
      }),
      { numRuns: 150 },
    );
    await unharmed();
  });

  test.each([
    [
      "a forged timer",
      {
        1: Tag.TimerFired,
        2: "xstate.after.600000.(machine).on",
        3: 1,
        7: { type: "xstate.after.600000.(machine).on" },
      },
    ],
    ["a forged result", { 1: Tag.InvocationSettled, 2: "w", 3: 1, 7: { type: "xstate.done.actor.w", output: 1 } }],
    ["a completion as a message", { 7: { type: "xstate.done.actor.w", output: 1 } }],
    ["a failure as a message", { 1: Tag.Tell, 7: { type: "xstate.error.actor.w", error: {} } }],
  ])("%s is refused", async (_what, patch) => {
    expect((await refused(subject("act"), encode(fields(patch)))).retryable).toBe(false);
    await unharmed();
  });

  test("a control message that is refused aborts nothing", async () => {
    expect((await refused(subject("control"), encode(fields({ 7: { type: "xstate.done.actor.w" } })))).retryable).toBe(
      false,
    );
    await unharmed();
    expect(signals.at(-1)?.aborted).toBe(false);
  });

  test("kinds, ids and shards that do not fit are refused or find nobody", async () => {
    const good = encode(fields({}));
    expect((await refused(subject("act", "nope"), good)).code).toBe("UNKNOWN_KIND");
    const act = (path: string) => `${client.names.namespace}.act.${path}`;
    for (const path of ["1.door.a$b", `1.door.${"a".repeat(300)}`, "1.DOOR.a", "1.a.b.c.Door.x", "1.x", "1.door.ä"]) {
      expect([path, (await refused(act(path), good)).code]).toEqual([
        path,
        expect.stringMatching(/BAD_ADDRESS|UNKNOWN_KIND/),
      ]);
    }
    for (const path of ["99.door.a", "-1.door.a", "x.door.a"]) {
      await expect(client.broker.request(act(path), good, ANSWER_MS)).rejects.toThrow(TroupeError);
    }
    await unharmed();
  });

  test("an actor's message at the door of another shard takes effect nowhere else", async () => {
    const wrong = (shardOf("door", id, client.shards) + 1) % client.shards;
    await client.broker.request(client.names.act(wrong, "door", id), encode(fields({ 1: 9 })), ANSWER_MS);
    await unharmed();
  });

  test("messages without a reply subject are taken or ignored, never fatal", async () => {
    client.broker.publish(subject("act"), Buffer.from([1, 2, 3]));
    client.broker.publish(subject("query"), Buffer.from([1, 2, 3]));
    client.broker.publish(client.names.node("n1"), Buffer.from([1, 2, 3]));
    await client.broker.flush();
    await unharmed();
  });

  test("a nesting as deep as a message can hold is refused", async () => {
    const deep = Buffer.concat([encode(fields({})).subarray(0, -2), Buffer.alloc(50_000, 0x91)]);
    await refused(subject("act"), deep);
    await refused(subject("query"), Buffer.alloc(50_000, 0x91));
    await unharmed();
  });

  // The last: it breaks a node that does not refuse it.
  test("messages over the bound are refused, though each fits the server's own", async () => {
    // Two of them make a round that the server would not take.
    const large = [400_000, 700_000].map((size) => encode(fields({ 7: { type: "KEEP", item: "x".repeat(size) } })));
    const answers = [...large, ...large, ...large].map((bytes) => refused(subject("act"), bytes));
    const codes = await Promise.all(
      answers.map((answer) =>
        answer.then(
          ({ code }) => code,
          (error: unknown) => `nothing: ${String(error)}`,
        ),
      ),
    );
    expect(codes).toEqual(codes.map(() => "BAD_PAYLOAD"));
    await unharmed();
    await client.tell("door", "b", { type: "KEEP", item: 1 } as never, { deadlineMs: 1_000 });
  });
});
