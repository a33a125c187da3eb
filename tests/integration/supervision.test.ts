/**
 * What follows poison, and what operators do about it. Invariant: nothing of a failed actor is lost, each dead letter is seen to once,
 * and the history with all of it replays bit for bit.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { assign, fromPromise, sendTo, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { ref, reply } from "../../runtime/author.ts";
import { type ActorKind, defineActor, type Supervision } from "../../runtime/define-actor.ts";
import type { EventLike } from "../../runtime/envelope.ts";
import {
  ActorNotFoundError,
  DeadLetterError,
  LetterNotFoundError,
  MovedError,
  PayloadError,
  PoisonMessageError,
  QuarantinedError,
  UnknownEventError,
} from "../../runtime/errors.ts";
import { MAX_TAKEOVER_STATE_BYTES } from "../../runtime/limits.ts";
import { verifyReplay } from "../../runtime/replay.ts";
import { sender } from "../../runtime/transition-scope.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

interface Book {
  readonly n: number;
  readonly from: readonly string[];
  readonly heard: readonly EventLike[];
  readonly text: string;
}

/** Cannot take ADD without a number, until it is repaired. */
function machineOf(isRepaired: boolean) {
  return setup({
    types: { context: {} as Book, events: {} as EventLike },
    actors: { work: fromPromise(() => new Promise(() => undefined)) },
    actions: {
      add: assign(({ context, event }) => {
        const by = event["by"] ?? (isRepaired ? 100 : undefined);
        if (typeof by !== "number") throw new TypeError("No number");
        return { n: context.n + by, from: [...context.from, sender()] };
      }),
      note: assign({ heard: ({ context, event }) => [...context.heard, event] }),
      fill: assign({ text: ({ event }) => String(event["text"]) }),
      total: reply(({ context }: { context: Book }) => context.n),
    },
  }).createMachine({
    context: { n: 0, from: [], heard: [], text: "" },
    initial: "whole",
    on: {
      ADD: { actions: ["add", "total"] },
      FILL: { actions: "fill" },
      PASS: {
        actions: sendTo(
          ({ event }) => ref(String(event["kind"]), String(event["id"])),
          ({ event }) => event["event"] as EventLike,
        ),
      },
      "supervision.takeover": { actions: "note" },
    },
    states: {
      whole: { on: { WAIT: "waiting", "supervision.degraded": { target: "reduced", actions: "note" } } },
      waiting: { invoke: { id: "work", src: "work" }, after: { 300: { target: "whole" } }, on: { STAY: {} } },
      reduced: { on: { REPAIRED: "whole" } },
    },
  });
}

const kindsOf = (isRepaired: boolean): ActorKind[] => {
  const machine = machineOf(isRepaired);
  const kind = (name: string, supervision: Partial<Supervision>) => defineActor({ kind: name, machine, supervision });
  return [
    kind("spare", {}),
    kind("replaced", { strategy: "replace" }),
    kind("reduced", { strategy: "degrade", intensity: 2 }),
    kind("primary", { strategy: "failover", standby: ({ id }) => ({ kind: "spare", id }) }),
    kind("left", { strategy: "failover", standby: ({ id }) => ({ kind: "right", id }) }),
    kind("right", { strategy: "failover", standby: ({ id }) => ({ kind: "left", id }) }),
    kind("strict", { intensity: 0 }),
  ];
};

const AUDIT = { by: "ann", why: "the meter was repaired" };
const BAD = { type: "ADD" };

let server: TestServer;
let cluster: TestCluster;
let client: Client;
let id = "";
let ids = 0;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: kindsOf(false) });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});
beforeEach(() => {
  id = `a${++ids}`;
});

const poison = (kind: string) => expect(client.ask(kind, id, BAD)).rejects.toThrow(PoisonMessageError);
const add = (kind: string, by: number) => client.ask(kind, id, { type: "ADD", by } as { type: string });
const bookOf = async (kind: string, of = id) => (await client.query(kind, of)).context as Book;
const letters = async (kind: string, count = 1) =>
  await until(`${count} dead letters of ${kind}/${id}`, async () => {
    const found = (await client.deadLetters()).filter((letter) => letter.kind === kind && letter.id === id);
    return found.length >= count && found;
  });
const letter = async (kind: string) => (await letters(kind))[0]?.seq as number;
const marked = (seq: number) => until("the mark", async () => (await client.deadLetter(seq)).mark);
const expectReplay = async (kind: string) => {
  await client.history(kind, id); // which stores it
  const found = kindsOf(false).find((each) => each.kind === kind);
  const replay = await verifyReplay(client.broker, client.names, client.shards, found as ActorKind, id);
  expect(replay.isIdentical).toBe(true);
};

describe("the strategies", () => {
  test("replace: a fresh instance takes the name over, the old state lies with the dead letter", async () => {
    await add("replaced", 7);
    await poison("replaced");
    expect(await bookOf("replaced")).toMatchObject({ n: 0 });
    const seq = await letter("replaced");
    expect((await letters("replaced"))[0]).not.toHaveProperty("state");
    expect(await client.deadLetter(seq)).toMatchObject({
      revision: 2,
      state: { revision: 1, value: "whole", context: { n: 7 } },
    });
    await add("replaced", 1);
    await expectReplay("replaced");
  });

  test("degrade: the machine hears of it and goes on with what it can, until it is repaired", async () => {
    await add("reduced", 7);
    await poison("reduced");
    expect(await client.query("reduced", id)).toMatchObject({
      status: "active",
      value: "reduced",
      context: { n: 7, heard: [{ type: "supervision.degraded", cause: "TypeError: No number", event: "ADD" }] },
    });
    await client.ask("reduced", id, { type: "REPAIRED" });
    expect(await add("reduced", 1)).toBe(8);
    await expectReplay("reduced");
  });

  test("failover: the standby gets the state, then what is told to the failed one; asks name it", async () => {
    await add("primary", 7);
    await poison("primary");
    await client.tell("primary", id, { type: "ADD", by: 3 } as { type: string });
    await until("the standby to do the work", async () => (await bookOf("spare").catch(() => undefined))?.n === 3);
    const { heard, from } = await bookOf("spare");
    expect(heard).toEqual([
      {
        type: "supervision.takeover",
        kind: "primary",
        id,
        cause: "TypeError: No number",
        event: "ADD",
        state: { revision: 1, value: "whole", context: expect.objectContaining({ n: 7 }) as unknown },
      },
    ]);
    expect(from).toEqual([`primary/${id}`]);
    await expect(add("primary", 1)).rejects.toThrow(MovedError);
    await expect(add("primary", 1)).rejects.toThrow(`ask "spare/${id}"`);
    await expectReplay("primary");
    await client.resume("primary", id, AUDIT);
    expect(await add("primary", 1)).toBe(8);
  });

  test("failover of a state too large for a message leaves it to be queried", async () => {
    await client.tell("primary", id, { type: "FILL", text: "x".repeat(MAX_TAKEOVER_STATE_BYTES) } as { type: string });
    await poison("primary");
    const heard = await until("the takeover", async () => (await bookOf("spare").catch(() => undefined))?.heard);
    expect(heard).toMatchObject([{ state: null }]);
    expect((await bookOf("primary")).text).toHaveLength(MAX_TAKEOVER_STATE_BYTES);
  });

  test("two that fail over to each other refuse what would go round for ever", async () => {
    await poison("left");
    await until("the takeover", async () => (await bookOf("right").catch(() => undefined))?.heard.length === 1);
    await poison("right");
    await client.tell("left", id, { type: "ADD", by: 1 } as { type: string });
    const found = await until("the refusal", async () =>
      (await client.deadLetters()).find(
        ({ reason, event }) => reason === "refused" && (event as EventLike).type === "ADD",
      ),
    );
    expect(found.cause).toContain(
      `CYCLE: Actors that failed over to each other pass a message on: left/${id} → right/${id} → left/${id}`,
    );
  });
});

describe("a quarantine", () => {
  test("names the poison message, and takes nothing until it is resumed", async () => {
    await add("strict", 7);
    await poison("strict");
    const view = await client.query("strict", id);
    expect(view).toMatchObject({
      status: "quarantined",
      error: `quarantined after 1 poison messages in 60000 ms; the last, dead letter strict/${id}@2, was "ADD": TypeError: No number`,
    });
    expect(await letters("strict")).toMatchObject([{ revision: 2, event: BAD, cause: "TypeError: No number" }]);
    await expect(add("strict", 1)).rejects.toThrow(QuarantinedError);
    await cluster.restart();
    await expect(add("strict", 1)).rejects.toThrow(`troupe resume strict ${id}`);
    await client.resume("strict", id, AUDIT);
    expect(await add("strict", 1)).toBe(8);
    await expectReplay("strict");
    expect((await client.history("strict", id)).map(({ event }) => event)).toContainEqual({
      type: "control.resume",
      ...AUDIT,
    });
  });

  test("keeps timers and invocations for when it goes on, also after a crash", async () => {
    await client.tell("strict", id, { type: "WAIT" });
    await poison("strict");
    await cluster.restart();
    expect((await client.query("strict", id)).value).toBe("waiting");
    await client.skipDeadLetter(await letter("strict"), AUDIT);
    await until("the timer of before", async () => (await client.query("strict", id)).value === "whole");
    await expectReplay("strict");
  });

  test("what actors send meanwhile lies in the dead letters, and can be retried after", async () => {
    await poison("strict");
    const [first] = await letters("strict");
    await client.tell("spare", `${id}-s`, { type: "PASS", kind: "strict", id, event: { type: "ADD", by: 5 } } as {
      type: string;
    });
    const [, refused] = await letters("strict", 2);
    expect(refused).toMatchObject({ reason: "refused", sender: `spare/${id}-s`, event: { type: "ADD", by: 5 } });
    await expect(client.retryDeadLetter(refused?.seq ?? 0, AUDIT)).rejects.toThrow(QuarantinedError);
    await client.skipDeadLetter(first?.seq ?? 0, AUDIT);
    expect(await client.retryDeadLetter(refused?.seq ?? 0, AUDIT)).toBe(5);
    expect((await bookOf("strict")).from).toEqual([`spare/${id}-s`]);
  });
});

describe("dead letters", () => {
  test("skip drops the message once and lets the actor go on", async () => {
    await poison("strict");
    const seq = await letter("strict");
    await client.skipDeadLetter(seq, AUDIT);
    expect(await add("strict", 1)).toBe(1);
    expect(await marked(seq)).toMatchObject({ verb: "skipped", ...AUDIT, outcome: "dropped" });
    await expect(client.skipDeadLetter(seq, AUDIT)).rejects.toThrow(DeadLetterError);
    await expect(client.retryDeadLetter(seq, AUDIT)).rejects.toThrow(`Dead letter ${seq} was skipped by "ann"`);
  });

  test("edit and retry takes a changed event, as from the same sender, once", async () => {
    await poison("strict");
    const seq = await letter("strict");
    const event = { type: "ADD", by: 4 };
    expect(await client.retryDeadLetter(seq, { ...AUDIT, event })).toBe(4);
    expect(await marked(seq)).toMatchObject({ verb: "retried", isEdited: true, outcome: "applied", ...AUDIT });
    await expect(client.retryDeadLetter(seq, { ...AUDIT, event })).rejects.toThrow(DeadLetterError);
    expect((await letters("strict"))[0]?.mark).toMatchObject({ by: "ann" });
    const { n, from } = await bookOf("strict");
    expect([n, from]).toEqual([4, [(await client.deadLetter(seq)).sender]]);
    await expectReplay("strict");
  });

  test("retry of what is poison still leaves the actor quarantined, for a new letter", async () => {
    await add("strict", 7);
    await poison("strict");
    const seq = await letter("strict");
    await expect(client.retryDeadLetter(seq, AUDIT)).rejects.toThrow(PoisonMessageError);
    const [, again] = await letters("strict", 2);
    expect(await client.query("strict", id)).toMatchObject({
      status: "quarantined",
      error: expect.stringContaining(`strict/${id}@3`) as string,
      context: { n: 7 },
    });
    expect(await marked(seq)).toMatchObject({ outcome: "poison" });
    await expect(client.retryDeadLetter(seq, AUDIT)).rejects.toThrow("lies here as a new letter");
    await client.skipDeadLetter(again?.seq ?? 0, AUDIT);
    expect(await add("strict", 1)).toBe(8);
    await expectReplay("strict");
  });

  test("two operators at once retry a letter once", async () => {
    await poison("strict");
    const seq = await letter("strict");
    const event = { type: "ADD", by: 4 };
    await Promise.allSettled([1, 2, 3].map(() => client.retryDeadLetter(seq, { ...AUDIT, event })));
    expect(await bookOf("strict")).toMatchObject({ n: 4 });
  });

  test("what cannot be done is refused and changes nothing", async () => {
    await poison("strict");
    const seq = await letter("strict");
    await expect(client.deadLetter(999_999)).rejects.toThrow(LetterNotFoundError);
    await expect(client.retryDeadLetter(0, AUDIT)).rejects.toThrow(LetterNotFoundError);
    await expect(client.retryDeadLetter(seq, { by: "", why: "x" })).rejects.toThrow(PayloadError);
    await expect(client.skipDeadLetter(seq, { by: "ann", why: " " })).rejects.toThrow(PayloadError);
    await expect(client.retryDeadLetter(seq, { ...AUDIT, event: { type: "NOPE" } })).rejects.toThrow(UnknownEventError);
    await expect(client.resume("strict", `${id}-nobody`, AUDIT)).rejects.toThrow(ActorNotFoundError);
    expect((await client.query("strict", id)).status).toBe("quarantined");
    expect((await client.deadLetter(seq)).mark).toBeUndefined();
  });

  test("retry takes the same message after a fix", async () => {
    await add("strict", 7);
    await poison("strict");
    const seq = await letter("strict");
    await cluster.restart(kindsOf(true));
    expect(await client.retryDeadLetter(seq, AUDIT)).toBe(107);
    await cluster.restart(kindsOf(true));
    expect(await bookOf("strict")).toMatchObject({ n: 107 });
    await marked(seq);
  });
});
