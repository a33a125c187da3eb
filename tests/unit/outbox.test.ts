/** Delivery into pools. Invariant: what keeps its order is sent one after the other, the rest does not wait for it. */
import { expect, test } from "vitest";
import { setup } from "xstate";
import { Activation } from "../../runtime/activation.ts";
import { newState, queueOutgoing } from "../../runtime/actor-state.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { BusyError } from "../../runtime/errors.ts";
import { Outbox } from "../../runtime/outbox.ts";
import { runnable } from "../../runtime/runnable.ts";
import { SimClock, settlePromises } from "../../runtime/testkit/sim-clock.ts";

const kind = runnable(defineActor({ kind: "actor", machine: setup({}).createMachine({}) }));

/** An actor with events for one pool, each with its order key, and a pool that answers when the test says so. */
function startOutbox(orderKeys: readonly (string | undefined)[]) {
  const clock = new SimClock();
  const activation = new Activation({ kind: "actor", id: "a" }, 0, kind);
  activation.begin(newState(), null);
  const events = orderKeys.map((orderKey, i) => ({ type: `e${i}`, ...(orderKey !== undefined && { orderKey }) }));
  queueOutgoing(
    activation.state,
    events.map((event) => ({ to: "pool:p", lane: 0, event })),
    0,
  );
  activation.releasableSeq = activation.state.outSeq;
  const sent: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<void>>();
  const outbox = new Outbox({
    clock,
    mayAct: () => true,
    deliver: () => undefined,
    publish: (_, __, { event }) => {
      sent.push(event.type);
      const answer = Promise.withResolvers<void>();
      answers.set(event.type, answer);
      return answer.promise;
    },
    onSettled: () => undefined,
    onRefused: () => undefined,
  });
  outbox.pump(activation);
  const answer = async (type: string, error?: Error) => {
    if (error === undefined) answers.get(type)?.resolve();
    else answers.get(type)?.reject(error);
    await settlePromises();
  };
  return { sent, answer, clock, left: () => activation.state.outbox.size };
}

test("pump() sends an actor's events into a pool one after the other when they name no order key", async () => {
  const { sent, answer, left } = startOutbox([undefined, undefined]);
  expect(sent).toEqual(["e0"]);
  await answer("e0");
  expect(sent).toEqual(["e0", "e1"]);
  expect(left()).toBe(1);
});

test("pump() sends events of different order keys together, and those of one key in order through a refusal", async () => {
  const { sent, answer, clock, left } = startOutbox(["x", "y", "x"]);
  expect(sent).toEqual(["e0", "e1"]);
  await answer("e0", new BusyError("The pool is full"));
  await answer("e1");
  expect(sent).toEqual(["e0", "e1"]);
  await clock.advanceAsync(5_000);
  expect(sent).toEqual(["e0", "e1", "e0"]);
  await answer("e0");
  await answer("e2");
  expect(sent).toEqual(["e0", "e1", "e0", "e2"]);
  expect(left()).toBe(0);
});
