/**
 * A step that stays in its states, against XState's own. Invariant: nothing that a machine or an observer could tell apart: the same
 * snapshot, the same wanted actions in the same order.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  assign,
  cancel,
  createActor,
  createMachine,
  emit,
  enqueueActions,
  type EventObject,
  log,
  raise,
  sendTo,
  transition,
} from "xstate";
import { ref, reply } from "../../runtime/author.ts";
import { InPlace } from "../../runtime/in-place.ts";
import { MachineRunner } from "../../runtime/machine.ts";

interface Context {
  readonly n: number;
  readonly seen: readonly string[];
}

/** What the tests make up has no types of its own. */
const machineOf = (config: object): AnyStateMachine =>
  createMachine({ context: { n: 0, seen: [] }, ...config } as object, {
    actions: {
      bump: assign({ n: ({ context }: { context: Context }) => context.n + 1 }),
      addBy: assign(({ context }: { context: Context }, { by }: { by: number }) => ({ n: context.n + by })),
      tell: emit(({ context }: { context: Context }) => ({ type: "told", n: context.n })),
      outside: () => undefined,
    } as never,
    guards: { isEven: ({ context }) => context["n"] % 2 === 0, never: () => false },
  });

const note = assign(({ context, event }: { context: Context; event: EventObject }) => ({
  seen: [...context.seen, event.type],
}));

const STAYING: Readonly<Record<string, unknown>> = {
  inline: assign({ n: ({ context }: { context: Context }) => context.n * 3 + 1 }),
  note,
  plain: assign({ n: 7, seen: ({ event }: { event: EventObject }) => [event.type] }),
  named: "bump",
  withParams: { type: "addBy", params: { by: 2 } },
  withComputedParams: { type: "addBy", params: ({ context }: { context: Context }) => ({ by: context.n }) },
  namedEmit: "tell",
  reply: reply(({ context }: { context: Context }) => ({ n: context.n })),
  emit: emit({ type: "plain" }),
  send: sendTo(ref("counter", "other"), ({ context }: { context: Context }) => ({ type: "add", by: context.n })),
  delayedSend: sendTo(ref("counter", "other"), { type: "add" }, { id: "later", delay: 50 }),
  cancel: cancel("later"),
  log: log(({ context }: { context: Context }) => context.n, "count"),
};

const LEAVING: Readonly<Record<string, unknown>> = {
  raise: raise({ type: "a" }),
  raiseLater: raise({ type: "b" }, { delay: 5, id: "soon" }),
  enqueue: enqueueActions(({ enqueue, context }: { enqueue: { (a: string): void }; context: Context }) => {
    if (context.n < 5) enqueue("bump");
  }),
  custom: "outside",
};

const actionOf = (name: string): unknown => STAYING[name] ?? LEAVING[name];
const events = ["a", "b", "c.d"] as const;

interface Move {
  readonly event: string;
  readonly guard: "isEven" | "never" | undefined;
  readonly target: string | undefined;
  readonly actions: readonly string[];
}

const actionNames = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...Object.keys(STAYING)) },
  { weight: 1, arbitrary: fc.constantFrom(...Object.keys(LEAVING).filter((name) => name !== "raise")) },
);
const moveTo = (targets: readonly string[]): fc.Arbitrary<Move> =>
  fc.record({
    event: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(...events) },
      { weight: 1, arbitrary: fc.constantFrom("*", "c.*") },
    ),
    guard: fc.constantFrom(undefined, undefined, "isEven" as const, "never" as const),
    target: fc.oneof(
      { weight: 5, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.constantFrom(...targets) },
    ),
    actions: fc.array(actionNames, { maxLength: 3 }),
  });

function onOf(moves: readonly Move[]): Record<string, unknown> {
  const on: Record<string, object[]> = {};
  for (const { event, guard, target, actions } of moves)
    (on[event] ??= []).push({
      actions: actions.map(actionOf),
      ...(guard !== undefined && { guard }),
      ...(target !== undefined && { target }),
    });
  return on;
}

const movesTo = (...targets: string[]) => fc.array(moveTo(targets), { maxLength: 4 });

/** A parallel machine: one region with a compound state that has history, one flat; moves at every level. */
const machines = fc
  .record({
    root: movesTo(".left.idle", ".right.on"),
    left: movesTo(".idle", ".busy"),
    idle: movesTo("busy"),
    busy: movesTo("idle", ".deep", "#past"),
    right: movesTo(".on", ".off"),
    on: movesTo("off"),
    hasAlways: fc.oneof({ weight: 8, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  })
  .map(({ root, left, idle, busy, right, on, hasAlways }) =>
    machineOf({
      type: "parallel",
      on: onOf(root),
      states: {
        left: {
          initial: "idle",
          on: onOf(left),
          states: {
            idle: { tags: ["calm"], on: onOf(idle) },
            busy: {
              initial: "deep",
              on: onOf(busy),
              states: { deep: { exit: "tell" }, deeper: {}, past: { id: "past", type: "history" } },
              ...(hasAlways && {
                always: { guard: ({ context }: { context: Context }) => context.n > 9, target: "idle" },
              }),
            },
          },
        },
        right: { initial: "on", on: onOf(right), states: { on: { on: onOf(on), after: { 90: "off" } }, off: {} } },
      },
    }),
  );

/** What of a step anybody could see. */
const seenOf = (
  snapshot: AnyMachineSnapshot,
  actions: readonly { readonly type: string; readonly params?: unknown }[],
) => ({
  value: snapshot.value,
  context: snapshot.context as unknown,
  status: snapshot.status,
  tags: [...snapshot.tags],
  history: Object.keys(snapshot.historyValue),
  nodes: snapshot._nodes.map(({ id }: { id: string }) => id),
  keys: Object.keys(snapshot),
  actions: actions.map(({ type, params }) => ({ type, params })),
});

const scopeOf = (machine: AnyStateMachine) => {
  const self = createActor(machine);
  return { self, system: self.system, actionExecutor: () => undefined } as never;
};

const noSpawn = (): never => {
  throw new Error("no spawn");
};

const isTaken = (machine: AnyStateMachine, event: EventObject): boolean =>
  new InPlace(machine, scopeOf(machine), noSpawn).takes(new MachineRunner(machine).init(undefined).snapshot, event);

test("every step of a random machine is XState's, whether or not it is taken in place", () => {
  let taken = 0;
  let steps = 0;
  fc.assert(
    fc.property(machines, fc.array(fc.constantFrom(...events, "unheard"), { maxLength: 12 }), (machine, types) => {
      const runner = new MachineRunner(machine);
      const inPlace = new InPlace(machine, scopeOf(machine), noSpawn);
      let { snapshot } = runner.init(undefined);
      for (const type of types) {
        const [theirs, wanted] = transition(machine, snapshot as never, { type } as never);
        const ours = runner.step(snapshot, { type });
        expect(seenOf(ours.snapshot, ours.actions)).toEqual(seenOf(theirs, wanted as never));
        steps++;
        if (inPlace.takes(snapshot, { type })) taken++;
        snapshot = ours.snapshot;
      }
    }),
    { numRuns: 1_500 },
  );
  expect(taken).toBeGreaterThan(steps / 20); // else nothing was compared
});

test.each(Object.keys(STAYING))("a transition without target whose action is %s is taken in place", (name) => {
  const machine = machineOf({ on: { a: { actions: [actionOf(name)] } } });
  expect(isTaken(machine, { type: "a" })).toBe(true);
});

test.each(Object.keys(LEAVING))("one whose action is %s is XState's own", (name) => {
  const machine = machineOf({ on: { a: { actions: [actionOf(name)] } } });
  expect(isTaken(machine, { type: "a" })).toBe(false);
});

const stays = { actions: ["bump"] };
test.each([
  ["some other state moves on it", { initial: "x", on: { a: stays }, states: { x: {}, y: { on: { a: "x" } } } }],
  [
    "one of its candidates moves",
    { initial: "x", states: { x: { on: { a: [{ guard: "never", ...stays }, { target: "y" }] } }, y: {} } },
  ],
  [
    "a state has eventless transitions",
    { initial: "x", on: { a: stays }, states: { x: { always: { guard: "isEven", target: "y" } }, y: {} } },
  ],
  ["a state has a wildcard", { initial: "x", on: { a: stays }, states: { x: { on: { "*": "y" } }, y: {} } }],
  ["a state has a partial wildcard", { initial: "x", on: { a: stays }, states: { x: { on: { "q.*": "y" } }, y: {} } }],
  ["it enters its own state anew", { initial: "x", states: { x: { on: { a: { reenter: true, ...stays } } } } }],
  ["no state knows it", { on: { b: stays } }],
])("an event is XState's own when %s", (_, config) => {
  expect(isTaken(machineOf(config), { type: "a" })).toBe(false);
});

test("the runtime's own events and a machine that has ended are XState's own", () => {
  const machine = machineOf({
    initial: "x",
    on: { a: stays, "xstate.done.actor.job": stays },
    states: { x: { on: { end: "done" } }, done: { type: "final" } },
    // XState ends a machine with its top state.
  });
  const runner = new MachineRunner(machine);
  const inPlace = new InPlace(machine, scopeOf(machine), noSpawn);
  const { snapshot } = runner.init(undefined);
  expect(inPlace.takes(snapshot, { type: "a" })).toBe(true);
  expect(inPlace.takes(snapshot, { type: "xstate.done.actor.job" })).toBe(false);
  expect(inPlace.takes(runner.step(snapshot, { type: "end" }).snapshot, { type: "a" })).toBe(false);
});

test("what an assign throws, and spawn within one, fail as they do in XState's own step", () => {
  const broken = machineOf({
    on: {
      a: {
        actions: [
          assign(() => {
            throw new Error("no luck");
          }),
        ],
      },
      b: {
        actions: [
          assign({
            n: ({ spawn }: { spawn: (src: unknown) => unknown }) => (spawn(machineOf({})), 1),
          }),
        ],
      },
    },
  });
  const runner = new MachineRunner(broken);
  const { snapshot } = runner.init(undefined);
  expect(() => runner.step(snapshot, { type: "a" })).toThrow("no luck");
  expect(() => runner.step(snapshot, { type: "b" })).toThrow("spawn() inside assign cannot be durable");
});

test.each<[string, object, EventObject]>([
  [
    'an assign that brings a key "__proto__"',
    { on: { a: { actions: [assign(() => JSON.parse('{"n":1,"__proto__":{"x":2}}') as object)] } } },
    { type: "a" },
  ],
  [
    "params that are a method of their action",
    {
      on: {
        a: {
          actions: [
            {
              type: "addBy",
              by: 2,
              params() {
                return { by: this.by };
              },
            },
          ],
        },
      },
    },
    { type: "a" },
  ],
  [
    "an action that is none, elsewhere",
    { on: { a: stays, b: { guard: "never", actions: [undefined] } } },
    { type: "a" },
  ],
  ["an assign that gives nothing", { on: { a: { actions: [assign(() => undefined as never)] } } }, { type: "a" }],
])("%s ends as in XState's own step", (_, config, event) => {
  const machine = machineOf(config);
  const { snapshot } = new MachineRunner(machine).init(undefined);
  const [theirs, wanted] = transition(machine, snapshot as never, event as never);
  const ours = new MachineRunner(machine).step(snapshot, event);
  expect(seenOf(ours.snapshot, ours.actions)).toEqual(seenOf(theirs, wanted as never));
  expect(Object.keys(ours.snapshot.context as object)).toEqual(
    Object.keys((theirs as AnyMachineSnapshot).context as object),
  );
});

test("an assign to a context that a migration lost throws XState's error", () => {
  const machine = machineOf({ on: { a: stays } });
  const runner = new MachineRunner(machine);
  const { snapshot } = runner.init(undefined);
  const lost = { ...snapshot, context: undefined } as AnyMachineSnapshot;
  expect(() => runner.step(lost, { type: "a" })).toThrow("Cannot assign to undefined `context`");
});
