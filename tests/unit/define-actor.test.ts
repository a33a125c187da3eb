/** What may be an actor. Invariant: a refusal names the path of the node, what stands there, and the way to write it instead. */
import { describe, expect, test } from "vitest";
import {
  type AnyStateMachine,
  assign,
  emit,
  enqueueActions,
  fromCallback,
  fromEventObservable,
  fromObservable,
  fromPromise,
  fromTransition,
  log,
  raise,
  sendParent,
  sendTo,
  setup,
  spawnChild,
  stopChild,
} from "xstate";
import { newState } from "../../runtime/actor-state.ts";
import { applyInput } from "../../runtime/apply.ts";
import { publish, ref, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { Tag } from "../../runtime/envelope.ts";
import { DefinitionError } from "../../runtime/errors.ts";
import { runnable } from "../../runtime/runnable.ts";

/** Any machine: XState's own type for it refuses some under exactOptionalPropertyTypes. */
type Machine = object;
const toMachine = (machine: Machine): AnyStateMachine => machine as AnyStateMachine;

const child = setup({}).createMachine({});
const load = fromPromise(async () => 1);
const observable = fromObservable(() => ({ subscribe: () => ({ unsubscribe: () => undefined }) }));
const events = fromEventObservable(() => ({ subscribe: () => ({ unsubscribe: () => undefined }) }));
const counter = fromTransition((count: number) => count + 1, 0);
const inline = () => undefined;
const PROMISE = /use fromPromise/;
const NAMED = /name it in setup\(\{ actions \}\)/;

/** What, machine, path in the message, remedy in the message. */
const REFUSED: readonly (readonly [string, () => Machine, string, RegExp])[] = [
  [
    "a callback actor",
    () => setup({ actors: { x: fromCallback(() => undefined) } }).createMachine({}),
    "actors.x",
    PROMISE,
  ],
  ["an observable actor", () => setup({ actors: { x: observable } }).createMachine({}), "actors.x", PROMISE],
  ["an event observable", () => setup({ actors: { x: events } }).createMachine({}), "actors.x", PROMISE],
  [
    "a child machine",
    () => setup({ actors: { x: child } }).createMachine({}),
    "actors.x",
    /sendTo\(ref\("kind", id\)\)/,
  ],
  ["transition logic", () => setup({ actors: { x: counter } }).createMachine({}), "actors.x", PROMISE],
  [
    "an invoked callback written in place",
    () =>
      setup({}).createMachine({
        initial: "a",
        states: { a: { invoke: { id: "c", src: fromCallback(() => undefined) } } },
      } as never),
    'a.invoke "c"',
    PROMISE,
  ],
  [
    "an invoked machine written in place",
    () => setup({}).createMachine({ initial: "a", states: { a: { invoke: { id: "c", src: child } } } } as never),
    'a.invoke "c"',
    PROMISE,
  ],
  [
    "a missing src",
    () => setup({}).createMachine({ initial: "a", states: { a: { invoke: { id: "c", src: "nowhere" } } } } as never),
    'a.invoke "c" names "nowhere"',
    PROMISE,
  ],
  [
    "an inline action on entry",
    () => setup({}).createMachine({ initial: "a", states: { a: { initial: "b", states: { b: { entry: inline } } } } }),
    "a.b.entry",
    NAMED,
  ],
  [
    "an inline action on exit",
    () => setup({}).createMachine({ initial: "a", states: { a: { exit: inline } } }),
    "a.exit",
    NAMED,
  ],
  [
    "an inline action on an event",
    () => setup({}).createMachine({ on: { GO: { actions: [inline] } } }),
    "(root).on.GO",
    NAMED,
  ],
  [
    "an inline action on always",
    () => setup({}).createMachine({ initial: "a", states: { a: { always: { target: "b", actions: inline } }, b: {} } }),
    "a.always",
    NAMED,
  ],
  [
    "an inline action after a delay",
    () => setup({}).createMachine({ initial: "a", states: { a: { after: { 10: { actions: inline } } } } }),
    "a.on.xstate.after.10",
    NAMED,
  ],
  [
    "an inline action on done",
    () =>
      setup({ actors: { load } }).createMachine({
        initial: "a",
        states: { a: { invoke: { id: "l", src: "load", onDone: { actions: inline } } } },
      }),
    "a.on.xstate.done.actor.l",
    NAMED,
  ],
  [
    "an inline action on an initial transition",
    () => setup({}).createMachine({ initial: { target: "a", actions: inline }, states: { a: {} } } as never),
    "initial",
    NAMED,
  ],
  [
    "sendParent",
    () => setup({}).createMachine({ entry: sendParent({ type: "HI" }) }),
    "(root).entry",
    /keep the address in the context/,
  ],
  [
    "a named sendParent",
    () => setup({ actions: { tell: sendParent({ type: "HI" }) } }).createMachine({ entry: "tell" }),
    "actions.tell",
    /keep the address in the context/,
  ],
  [
    "a systemId",
    () =>
      setup({ actors: { load } }).createMachine({
        initial: "a",
        states: { a: { invoke: { id: "l", src: "load", systemId: "sys" } } },
      }),
    'a.invoke "l" has a systemId',
    /address actors by kind and id/,
  ],
  [
    "onSnapshot",
    () =>
      setup({ actors: { load } }).createMachine({
        initial: "a",
        states: { a: { invoke: { id: "l", src: "load", onSnapshot: {} } } },
      }),
    'a.invoke "l" has onSnapshot',
    /use onDone and onError/,
  ],
  [
    "a spawn of logic in place",
    () => setup({}).createMachine({ entry: spawnChild(load) } as never),
    "(root).entry",
    /spawnChild\("name"\)/,
  ],
  [
    "a spawn with a systemId",
    () => setup({ actors: { load } }).createMachine({ entry: spawnChild("load", { systemId: "sys" }) } as never),
    "(root).entry",
    /address actors by kind and id/,
  ],
];

describe("defineActor() refuses", () => {
  test.each(REFUSED)("%s", (_what, machine, path, remedy) => {
    let thrown: unknown;
    try {
      defineActor({ kind: "bad", machine: toMachine(machine()) });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(DefinitionError);
    const { message } = thrown as Error;
    expect(message).toContain('Kind "bad" cannot be durable');
    expect(message).toContain(path);
    expect(message).toMatch(remedy);
  });

  test.each(["version", "snapshotEvery", "invocationDeadlineMs", "passivateAfterMs"])(
    "an option %s that is no whole number above 0",
    (key) => {
      for (const value of [0, -1, 1.5, Number.NaN, "1"]) {
        expect(() => defineActor({ kind: "k", machine: child, [key]: value })).toThrow(`Option "${key}" is`);
      }
    },
  );

  test.each(["historyDays"])("an option %s below 0 or broken", (key) => {
    for (const value of [-1, 0.5, Number.NaN]) {
      expect(() => defineActor({ kind: "k", machine: child, [key]: value })).toThrow(`"${key}"`);
    }
  });

  test.each([
    ["intensity", { intensity: -1 }],
    ["periodMs", { periodMs: 0 }],
    ["strategy", { strategy: "panic" }],
  ])("a supervision with a broken %s", (key, supervision) => {
    expect(() => defineActor({ kind: "k", machine: child, supervision: supervision as never })).toThrow(key);
  });

  test("escalate without a supervisor", () => {
    expect(() => defineActor({ kind: "k", machine: child, supervision: { strategy: "escalate" } })).toThrow(
      "supervisor",
    );
  });

  test("failover without a standby, degrade of a machine that does not handle it", () => {
    const make = (strategy: "failover" | "degrade") =>
      defineActor({ kind: "k", machine: child, supervision: { strategy } });
    expect(() => make("failover")).toThrow("give a standby");
    expect(() => make("degrade")).toThrow('sends "supervision.degraded", which the machine handles in no state');
  });

  test.each(["", "A", "1a", "a.b", "a b", "a*", "a>", "ä", "a".repeat(33)])("the kind %j", (kind) => {
    expect(() => defineActor({ kind, machine: child })).toThrow(/The kind .* is not valid: use/);
  });
});

const ACCEPTED: readonly (readonly [string, () => Machine])[] = [
  ["an empty machine", () => setup({}).createMachine({})],
  ["an inline guard", () => setup({}).createMachine({ on: { GO: { guard: () => true, actions: assign({}) } } })],
  ["a named custom action", () => setup({ actions: { ring: () => undefined } }).createMachine({ entry: "ring" })],
  [
    "a named action with params",
    () =>
      setup({ actions: { ring: (_args, _params: { n: number }) => undefined } }).createMachine({
        entry: { type: "ring", params: { n: 1 } },
      }),
  ],
  [
    "all built-in actions",
    () =>
      setup({ actors: { load }, types: { context: {} as { n: number } } }).createMachine({
        context: { n: 0 },
        on: {
          GO: {
            actions: [
              assign({ n: 1 }),
              raise({ type: "GO" }, { delay: 10 }),
              sendTo(() => ref("other", "a"), { type: "GO" }),
              emit({ type: "GO" }),
              log("went"),
              enqueueActions(({ enqueue }) => enqueue.assign({ n: 2 })),
              reply(() => 1),
              publish("shared.alerts", () => ({ type: "alert" })),
              spawnChild("load", { id: "one" }),
              stopChild("one"),
            ],
          },
        },
      }),
  ],
  [
    "a named promise",
    () => setup({ actors: { load } }).createMachine({ initial: "a", states: { a: { invoke: { src: "load" } } } }),
  ],
  [
    "a promise in place",
    () => setup({}).createMachine({ initial: "a", states: { a: { invoke: { src: load } } } } as never),
  ],
  [
    "two promises in one state",
    () =>
      setup({ actors: { load } }).createMachine({
        initial: "a",
        states: {
          a: {
            invoke: [
              { id: "x", src: "load" },
              { id: "y", src: "load" },
            ],
          },
        },
      }),
  ],
];

describe("defineActor() takes", () => {
  test.each(ACCEPTED)("%s, unchanged", (_what, make) => {
    const machine = toMachine(make());
    expect(defineActor({ kind: "good", machine }).machine).toBe(machine);
  });

  test("events as the machine declares them, and never the runtime's own", () => {
    const machine = setup({}).createMachine({
      on: { GO: {}, "job.*": {} },
      initial: "a",
      states: { a: { after: { 5: "b" } }, b: {} },
    });
    const { accepts } = defineActor({ kind: "k", machine });
    for (const type of ["GO", "job.x", "job.x.y", "job"]) expect([type, accepts(type)]).toEqual([type, true]);
    for (const type of [
      "",
      "NO",
      "jobs",
      "go",
      "xstate.after.5.(machine).a",
      "xstate.done.actor.x",
      "xstate.init",
      "xstate.stop",
    ]) {
      expect([type, accepts(type)]).toEqual([type, false]);
    }
    const all = defineActor({ kind: "k", machine: setup({}).createMachine({ on: { "*": {} } }) });
    expect([all.accepts("anything"), all.accepts("xstate.done.actor.x")]).toEqual([true, false]);
  });
});

test("applyInput() refuses spawn() inside assign as poison and names the way out", () => {
  const machine = setup({ actors: { load }, types: { context: {} as { child: unknown } } }).createMachine({
    context: { child: null },
    on: { GO: { actions: assign({ child: ({ spawn }) => spawn("load") }) } },
  });
  const kind = runnable(defineActor({ kind: "k", machine }));
  const input = { tag: Tag.Ask, sender: "c", seq: 1, low: 1, ttlMs: 0, lane: 2, event: { type: "GO" } };
  const state = newState();
  expect(() => applyInput(kind, { kind: "k", id: "a" }, state, input, 1)).toThrow(
    /spawn\(\) inside assign.*spawnChild/,
  );
  expect(state).toEqual(newState());
});
