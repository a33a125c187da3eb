/** One input on one state. Invariant: it takes effect as a whole or throws and leaves the state as it was, bit for bit. */
import { describe, expect, test } from "vitest";
import { type AnyActorRef, assign, cancel, enqueueActions, fromPromise, raise, sendTo, setup } from "xstate";
import { type ActorState, decodeState, encodeCore, encodeOutbox, newState } from "../../runtime/actor-state.ts";
import { assertTakes } from "../../runtime/admission.ts";
import { applyInput, applyPoison, causeOf, isCurrent, replayInput } from "../../runtime/apply.ts";
import { ref, reply } from "../../runtime/author.ts";
import { type ActorOptions, defineActor } from "../../runtime/define-actor.ts";
import { decodeAnswer, type EventLike, type Input, Tag } from "../../runtime/envelope.ts";
import { ActorDoneError, CycleError, PayloadError, StateError, UnknownEventError } from "../../runtime/errors.ts";
import { MAX_INVOCATIONS, MAX_OUTBOX, MAX_STATE_BYTES, MAX_TIMERS } from "../../runtime/limits.ts";
import { type RunnableKind, runnable } from "../../runtime/runnable.ts";

const ADDRESS = { kind: "k", id: "a" };

/** Text of about a hundred KiB: five of them are too much for a state. */
const HUNDRED_K = "x".repeat(100 * 1_024);

const wide = setup({
  actors: { work: fromPromise(async () => 1) },
  types: { context: {} as { items: unknown[]; n: number }, events: {} as EventLike },
}).createMachine({
  context: { items: [], n: 0 },
  initial: "on",
  states: {
    on: {
      on: {
        KEEP: { actions: assign({ items: ({ context, event }) => [...context.items, event["item"]] }) },
        COUNT: { actions: assign({ n: ({ context }) => context.n + 1 }) },
        THROW: {
          actions: [
            assign({ n: 99 }),
            raise({ type: "COUNT" }, { delay: 1_000, id: "t" }),
            sendTo(() => ref("other", "z"), { type: "HI" }),
            assign(() => {
              throw new RangeError("Out of range");
            }),
          ],
        },
        TIMER: {
          actions: enqueueActions(({ enqueue, event }) => {
            enqueue.raise({ type: "COUNT", text: event["text"] }, { delay: 60_000, id: String(event["id"]) });
          }),
        },
        CANCEL: { actions: cancel(({ event }) => String(event["id"])) },
        MANY: {
          actions: enqueueActions(({ enqueue, event }) => {
            for (let i = 0; i < Number(event["count"]); i++) {
              if (event["what"] === "timers") enqueue.raise({ type: "COUNT" }, { delay: 60_000, id: `m${i}` });
              else if (event["what"] === "messages") enqueue.sendTo(() => ref("other", "z"), { type: "HI" });
              else enqueue.spawnChild("work", { id: `w${i}` });
            }
          }),
        },
        SPAWN: {
          actions: enqueueActions(({ enqueue, event }) =>
            enqueue.spawnChild("work", { id: String(event["id"]), input: event["text"] as never }),
          ),
        },
        SEND: {
          actions: sendTo(
            () => ref("other", "z"),
            ({ event }) => ({ type: "HI", text: event["text"] }),
          ),
        },
        LOST: { actions: sendTo(() => ({ id: "x" }) as unknown as AnyActorRef, { type: "HI" }) },
        ANSWER: { actions: reply(({ event }) => event["value"]) },
        END: "off",
      },
    },
    off: { type: "final" },
  },
});

const bounded = runnable(defineActor({ kind: "k", machine: wide }));

class Driver {
  readonly state: ActorState = newState();
  readonly kind: RunnableKind;
  #seq = 0;

  constructor(kind: RunnableKind = bounded) {
    this.kind = kind;
  }

  input(event: EventLike, tag: Tag = Tag.Ask): Input {
    const seq = ++this.#seq;
    return { tag, sender: "c", seq, low: seq, ttlMs: 0, lane: 2, event };
  }

  send(event: EventLike, timeMs = 1_000) {
    return applyInput(this.kind, ADDRESS, this.state, this.input(event), timeMs);
  }

  get bytes(): string {
    const { state, kind } = this;
    return (
      Buffer.concat([encodeCore(state, kind.version, kind.runner), encodeOutbox(state)]).toString("hex") +
      state.extraBytes
    );
  }

  /** The input is refused and nothing is different. */
  refused(event: EventLike, error: unknown): void {
    const before = this.bytes;
    const input = this.input(event);
    expect(() => applyInput(this.kind, ADDRESS, this.state, input, 2_000)).toThrow(error as never);
    expect(this.bytes).toBe(before);
  }
}

describe("applyInput()", () => {
  test("throws what the machine throws and changes nothing, be it the first input or a later one", () => {
    const driver = new Driver();
    driver.refused({ type: "THROW" }, RangeError);
    expect(driver.state).toEqual(newState());
    driver.send({ type: "COUNT" });
    driver.send({ type: "TIMER", id: "a" });
    driver.send({ type: "SEND" });
    driver.refused({ type: "THROW" }, "Out of range");
  });

  test("measures a long list item by item, and refuses what makes it too large or cannot be stored", () => {
    const driver = new Driver();
    const item = () => ({ text: "x".repeat(5_000) });
    // A third: it is in the state, in the answer, and in the answer before, which is kept.
    const room = Math.floor(MAX_STATE_BYTES / 3 / 5_100);
    for (let i = 0; i < room; i++) driver.send({ type: "KEEP", item: item() });
    driver.refused({ type: "KEEP", item: { text: "x".repeat(15_000) } }, StateError);
    driver.refused({ type: "KEEP", item: { inner: [new Map()] } }, PayloadError);
    driver.send({ type: "COUNT" });
  });

  test.each([
    ["a context that cannot be stored", { type: "KEEP", item: new Map() }, PayloadError],
    ["a reply that cannot be stored", { type: "ANSWER", value: () => 1 }, PayloadError],
    ["a message that cannot be stored", { type: "SEND", text: new Set() }, PayloadError],
    ["a timer's event that cannot be stored", { type: "TIMER", id: "a", text: 1n }, PayloadError],
    ["a target that is no durable actor", { type: "LOST" }, StateError],
    ["too many timers", { type: "MANY", what: "timers", count: MAX_TIMERS + 1 }, StateError],
    ["too many invocations", { type: "MANY", what: "work", count: MAX_INVOCATIONS + 1 }, StateError],
    ["too many messages", { type: "MANY", what: "messages", count: MAX_OUTBOX + 1 }, StateError],
    ["a state that is too large", { type: "KEEP", item: "x".repeat(MAX_STATE_BYTES) }, StateError],
    ["a reply that is too large", { type: "ANSWER", value: "x".repeat(MAX_STATE_BYTES) }, StateError],
  ])("refuses %s at the input that asks for it", (_what, event, error) => {
    const driver = new Driver();
    driver.send({ type: "COUNT" });
    driver.refused(event as EventLike, error);
    driver.send({ type: "COUNT" });
    expect(driver.state.snapshot?.context).toEqual({ items: [], n: 2 });
  });

  test("takes just as many timers, invocations and messages as the bound says", () => {
    for (const [what, count] of [
      ["timers", MAX_TIMERS],
      ["work", MAX_INVOCATIONS],
      ["messages", MAX_OUTBOX],
    ] as const) {
      const driver = new Driver();
      driver.send({ type: "MANY", what, count });
      const { timers, invocations, outbox } = driver.state;
      expect(timers.size + invocations.size + outbox.size).toBe(count);
    }
  });

  test("setting a timer again at the bound is no further timer", () => {
    const driver = new Driver();
    driver.send({ type: "MANY", what: "timers", count: MAX_TIMERS });
    driver.send({ type: "TIMER", id: "m0" });
    expect(driver.state.timers.size).toBe(MAX_TIMERS);
  });

  // Each of them alone fits; together they would not fit into one snapshot message.
  test.each([
    ["context", (i: number) => ({ type: "KEEP", item: HUNDRED_K + i })],
    ["timers", (i: number) => ({ type: "TIMER", id: `t${i}`, text: HUNDRED_K })],
    ["invocations", (i: number) => ({ type: "SPAWN", id: `w${i}`, text: HUNDRED_K })],
    ["messages", (i: number) => ({ type: "SEND", text: `${HUNDRED_K}${i}` })],
  ])("refuses the input that makes the %s too large, one by one", (_what, event) => {
    const driver = new Driver();
    const quiet = (i: number) =>
      applyInput(driver.kind, ADDRESS, driver.state, driver.input(event(i), Tag.Tell), 1_000);
    for (let i = 0; i < 4; i++) quiet(i);
    expect(() => {
      for (let i = 4; i < 8; i++) quiet(i);
    }).toThrow(StateError);
    const { state, kind } = driver;
    expect(encodeCore(state, kind.version, kind.runner).length + encodeOutbox(state).length).toBeLessThan(
      2 * MAX_STATE_BYTES,
    );
  });

  test("a timer that is gone takes its bytes with it", () => {
    const driver = new Driver();
    for (let i = 0; i < 12; i++) {
      driver.send({ type: "TIMER", id: "t", text: HUNDRED_K });
      driver.send({ type: "CANCEL", id: "t" });
    }
    expect(driver.state.timers.size).toBe(0);
    driver.send({ type: "KEEP", item: HUNDRED_K });
  });

  test("answers an ask with the reply, else with the state after", () => {
    const driver = new Driver();
    const reply = driver.send({ type: "ANSWER", value: { a: 1 } }).answer as Uint8Array;
    expect(decodeAnswer(reply)).toEqual({ a: 1 });
    const state = driver.send({ type: "COUNT" }).answer as Uint8Array;
    expect(decodeAnswer(state)).toEqual({ status: "active", value: "on", context: { items: [], n: 1 }, revision: 2 });
    expect(applyInput(driver.kind, ADDRESS, driver.state, driver.input({ type: "COUNT" }, Tag.Tell), 1).answer).toBe(
      null,
    );
  });

  test("drops timers and invocations when the machine ends, and takes no more", () => {
    const driver = new Driver();
    driver.send({ type: "TIMER", id: "t" });
    driver.send({ type: "SPAWN", id: "w", text: "" });
    driver.send({ type: "END" });
    expect([driver.state.timers.size, driver.state.invocations.size]).toEqual([0, 0]);
    expect(() => assertTakes(driver.kind, ADDRESS, driver.state, driver.input({ type: "COUNT" }))).toThrow(
      ActorDoneError,
    );
    expect(() => assertTakes(driver.kind, ADDRESS, driver.state, driver.input({ type: "NOPE" }))).toThrow(
      UnknownEventError,
    );
  });

  test("replayInput() gives the same bytes as the first run", () => {
    const [first, again] = [new Driver(), new Driver()];
    const script: EventLike[] = [
      { type: "COUNT" },
      { type: "TIMER", id: "a" },
      { type: "SEND" },
      { type: "SPAWN", id: "w", text: "" },
      { type: "KEEP", item: [1] },
    ];
    for (const [i, event] of script.entries()) {
      first.send(event, 1_000 + i);
      replayInput(again.kind, ADDRESS, again.state, again.input(event), 1_000 + i);
    }
    expect(again.bytes).toBe(first.bytes);
  });
});

describe("the call chain of an input", () => {
  const machine = setup({
    actors: { work: fromPromise(async () => 1) },
    types: { events: {} as EventLike },
  }).createMachine({
    initial: "idle",
    states: {
      idle: { on: { CALL: "first" } },
      first: { invoke: { id: "w", src: "work", onDone: "second" }, on: { PEEK: { actions: reply(() => 1) } } },
      second: { invoke: { id: "v", src: "work" } },
    },
  });
  const kind = runnable(defineActor({ kind: "k", machine }));
  const chain = [["caller/c", 4]] as const;
  const made = (tag: Tag, event: EventLike, extra: Partial<Input> = {}): Input => ({
    tag,
    sender: "s",
    seq: 1,
    low: 1,
    ttlMs: 0,
    lane: 2,
    event,
    ...extra,
  });
  const called = (): ActorState => {
    const state = newState();
    applyInput(kind, ADDRESS, state, made(Tag.Ask, { type: "CALL" }, { chain }), 1);
    return state;
  };

  test("goes on with the invocations that it starts, through storage, and with those that their results start", () => {
    const stored = encodeCore(called(), 1, kind.runner);
    const state = decodeState(stored, encodeOutbox(newState()), kind, kind.runner);
    expect(state.invocations.get("w")?.chain).toEqual(chain);
    const done = { type: "xstate.done.actor.w", output: 1, actorId: "w" };
    applyInput(kind, ADDRESS, state, made(Tag.InvocationSettled, done, { sender: "w", seq: 1 }), 2);
    expect(state.invocations.get("v")?.chain).toEqual(chain);
  });

  test("refuses an ask that its own running invocation waits for and that its state ignores, and no other", () => {
    const state = called();
    const ask = (type: string, own: number, tag: Tag = Tag.Ask) =>
      assertTakes(
        kind,
        ADDRESS,
        state,
        made(
          tag,
          { type },
          {
            seq: 2,
            chain: [
              ["k/a", own],
              ["k/b", 7],
            ],
          },
        ),
      );
    expect(() => ask("CALL", 1)).toThrow(
      new CycleError(
        'The call k/a → k/b → k/a closes a circle: "k/a" waits for it and, in state "first", does nothing on "CALL"; handle the event there, or send a message instead of a call',
      ),
    );
    ask("PEEK", 1); // answered
    ask("CALL", 99); // of an invocation that has ended: nobody waits
    ask("CALL", 1, Tag.Tell); // waits for no change
  });
});

describe("isCurrent()", () => {
  test("is false for a timer or result whose state was left, even if entered again since", () => {
    const driver = new Driver();
    driver.send({ type: "TIMER", id: "t" });
    const fired = (seq: number): Input => ({
      tag: Tag.TimerFired,
      sender: "t",
      seq,
      low: 0,
      ttlMs: 0,
      lane: 1,
      event: { type: "COUNT" },
    });
    expect(isCurrent(driver.state, fired(1))).toBe(true);
    driver.send({ type: "TIMER", id: "t" });
    expect([isCurrent(driver.state, fired(1)), isCurrent(driver.state, fired(2))]).toEqual([false, true]);
    driver.send({ type: "CANCEL", id: "t" });
    expect(isCurrent(driver.state, fired(2))).toBe(false);
    const settled: Input = { ...fired(1), tag: Tag.InvocationSettled, sender: "w" };
    expect(isCurrent(driver.state, settled)).toBe(false);
  });
});

const shaky = (options: Partial<ActorOptions<typeof wide>>) =>
  runnable(defineActor({ kind: "k", machine: wide, ...options }));

/** Its first state works by a timer and an invocation, and what they bring may be poison. */
const restless = runnable(
  defineActor({
    kind: "k",
    machine: setup({
      actors: { work: fromPromise(async () => 1) },
      actions: {
        explode: assign(() => {
          throw new Error("Boom");
        }),
      },
    }).createMachine({
      initial: "waiting",
      states: {
        waiting: {
          after: { 100: { actions: "explode" } },
          invoke: { id: "w", src: "work", onDone: { actions: "explode" } },
          on: { GO: {} },
        },
      },
    }),
    supervision: { strategy: "restart" },
  }),
);

describe("applyPoison()", () => {
  test("resume keeps the machine's state and counts the input", () => {
    const driver = new Driver();
    driver.send({ type: "COUNT" });
    const before = driver.state.snapshot;
    applyPoison(driver.kind, ADDRESS, driver.state, driver.input({ type: "THROW" }), 2_000, "cause");
    expect(driver.state.snapshot).toBe(before);
    expect(driver.state).toMatchObject({ revision: 2, failures: [2_000], stopped: null });
  });

  test("more poison than the intensity within the period ends the actor, later poison counts anew", () => {
    const kind = shaky({ supervision: { intensity: 2, periodMs: 1_000 } });
    const driver = new Driver(kind);
    const poison = (timeMs: number) =>
      applyPoison(kind, ADDRESS, driver.state, driver.input({ type: "THROW" }), timeMs, "cause");
    for (const timeMs of [0, 500, 1_000, 1_600]) poison(timeMs);
    expect(driver.state.stopped).toBe(null);
    poison(1_700);
    expect(driver.state.stopped).toMatch(
      /quarantined after 3 poison messages in 1000 ms; the last, dead letter k\/a@5, was "THROW": cause/,
    );
  });

  test("restart begins anew, with the first state's own timers and work", () => {
    const driver = new Driver(restless);
    driver.send({ type: "GO" });
    const { timers, invocations } = driver.state;
    const [timer] = [...timers];
    const input: Input = {
      tag: Tag.TimerFired,
      sender: timer?.[0] as string,
      seq: 1,
      low: 0,
      ttlMs: 0,
      lane: 1,
      event: timer?.[1].event as EventLike,
    };
    applyPoison(restless, ADDRESS, driver.state, input, 2_000, "Boom");
    expect([...timers.values()]).toMatchObject([{ generation: 2, dueAtMs: 2_100 }]);
    expect([...invocations]).toMatchObject([["w", { startedBy: 2 }]]);
    const result: Input = {
      ...input,
      tag: Tag.InvocationSettled,
      sender: "w",
      seq: 2,
      event: { type: "xstate.done.actor.w" },
    };
    applyPoison(restless, ADDRESS, driver.state, result, 3_000, "Boom");
    expect([...invocations]).toMatchObject([["w", { startedBy: 3 }]]);
    expect([...timers.values()]).toMatchObject([{ generation: 3, dueAtMs: 3_100 }]);
  });

  test("escalate tells the supervisor and stops", () => {
    const kind = shaky({ supervision: { strategy: "escalate", supervisor: () => ({ kind: "boss", id: "b" }) } });
    const driver = new Driver(kind);
    applyPoison(kind, ADDRESS, driver.state, driver.input({ type: "THROW" }), 1, "cause");
    expect([...driver.state.outbox.values()]).toMatchObject([
      { to: "boss/b", event: { type: "actor.failed", kind: "k", id: "a", reason: "cause" } },
    ]);
    expect(driver.state.stopped).toBe("cause");
  });

  test("a supervisor is told of a quarantine, whatever the strategy", () => {
    const supervisor = () => ({ kind: "boss", id: "b" });
    const kind = shaky({ supervision: { strategy: "resume", intensity: 0, supervisor } });
    const driver = new Driver(kind);
    applyPoison(kind, ADDRESS, driver.state, driver.input({ type: "THROW" }), 1, "cause");
    expect([...driver.state.outbox.values()]).toMatchObject([
      { to: "boss/b", event: { type: "actor.failed", reason: driver.state.stopped } },
    ]);
    expect(driver.state.stopped).toContain("quarantined");
  });

  test("never throws, though the supervisor cannot be named", () => {
    const supervisor = () => {
      throw new Error("Nobody");
    };
    const kind = shaky({ supervision: { strategy: "escalate", supervisor } });
    const driver = new Driver(kind);
    expect(() => applyPoison(kind, ADDRESS, driver.state, driver.input({ type: "THROW" }), 1, "cause")).not.toThrow();
    expect(driver.state.stopped).toContain("cause");
  });
});

test("causeOf() names class or code, and is bounded: it stands in the journal", () => {
  expect(causeOf(new RangeError("Out"))).toBe("RangeError: Out");
  expect(causeOf(new StateError("Large"))).toBe("BAD_STATE: Large");
  expect(causeOf("text")).toBe("text");
  expect(causeOf(new Error("x".repeat(1_000_000))).length).toBeLessThan(10_000);
});
