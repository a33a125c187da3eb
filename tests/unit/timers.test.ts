/** The host timer of an activation. Invariant: a timer that is due is fired or armed again, however early the host timer was. */
import { expect, test } from "vitest";
import { setup } from "xstate";
import { Activation } from "../../runtime/activation.ts";
import { newState } from "../../runtime/actor-state.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { runnable } from "../../runtime/runnable.ts";
import { armTimers } from "../../runtime/timers.ts";

const DUE_AT_MS = 1_000;

/** A clock that is read at the given times, one after the other, and whose timers fire when the test says so. */
function readAt(times: number[]) {
  const waiting: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    now: () => times.shift() ?? DUE_AT_MS,
    setTimeout: (fn) => {
      waiting.push(fn);
      return fn;
    },
    clearTimeout: () => undefined,
  };
  return { clock, waiting };
}

function waitingActor(): Activation {
  const machine = setup({}).createMachine({});
  const activation = new Activation({ kind: "k", id: "a" }, 0, runnable(defineActor({ kind: "k", machine })));
  activation.begin(newState(), null);
  activation.phase = "live";
  activation.state.timers.set("t", { dueAtMs: DUE_AT_MS, generation: 1, to: null, event: { type: "DUE" } });
  return activation;
}

test("armTimers() fires a timer that falls due while its host timer, which was early, is looked at", () => {
  const { clock, waiting } = readAt([0, DUE_AT_MS - 1]);
  const fired: string[] = [];
  armTimers(clock, waitingActor(), (_, { sender }) => fired.push(sender));
  for (let fn = waiting.shift(); fn !== undefined && fired.length === 0; fn = waiting.shift()) fn();
  expect(fired).toEqual(["t"]);
});

test("armTimers() fires what is due and arms what is due later", () => {
  const { clock, waiting } = readAt([0, DUE_AT_MS]);
  const activation = waitingActor();
  activation.state.timers.set("later", { dueAtMs: DUE_AT_MS + 1, generation: 1, to: null, event: { type: "DUE" } });
  const fired: string[] = [];
  armTimers(clock, activation, (_, { sender }) => fired.push(sender));
  waiting.shift()?.();
  expect(fired).toEqual(["t"]);
  expect(waiting).toHaveLength(1);
});
