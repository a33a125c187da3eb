/** Reads of an owner whose lease is not good. Invariant: nothing, or a committed state that says it may be stale. */
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import type { ActorView } from "../../runtime/api.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { decodeAnswer, encodeInput, Tag } from "../../runtime/envelope.ts";
import { settlePromises } from "../../runtime/testkit/sim-clock.ts";
import { startEngine } from "../support/engine.ts";

const counter = defineActor({
  kind: "counter",
  machine: setup({
    types: { context: {} as { n: number }, events: {} as { type: "INC" } },
    actions: { add: assign({ n: ({ context }) => context.n + 1 }) },
  }).createMachine({ context: { n: 0 }, on: { INC: { actions: "add" } } }),
});

function start() {
  const bench = startEngine([counter], 4);
  let seq = 0;
  return {
    ...bench,
    increment: async () => {
      const input = { tag: Tag.Tell, sender: "test", seq: ++seq, low: 1, ttlMs: 0, lane: 2, event: { type: "INC" } };
      bench.engine.receive("counter", "a", encodeInput(input), () => undefined);
      await settlePromises();
    },
    ask: async (query: { stale?: boolean }) => {
      const answers: ActorView[] = [];
      bench.engine.queries.ask("counter", "a", query, (answer) => answers.push(decodeAnswer(answer) as ActorView));
      await settlePromises();
      return answers;
    },
  };
}

test("ask() of an owner without a good lease is not answered, or as stale to who allows it", async () => {
  const { ask, increment, setLease } = start();
  await increment();
  expect(await ask({ stale: true })).toEqual([expect.not.objectContaining({ stale: true })]);
  setLease(false);
  expect(await ask({})).toEqual([]);
  expect(await ask({ stale: true })).toMatchObject([{ context: { n: 1 }, stale: true, staleSinceMs: 1_000 }]);
});

test("ask() shows no uncommitted state as stale either", async () => {
  const { ask, increment, setLease, holdAppends } = start();
  await increment();
  const commit = holdAppends();
  await increment();
  setLease(false);
  const answers = await ask({ stale: true });
  expect(answers).toEqual([]);
  commit();
  await settlePromises();
  expect(answers).toMatchObject([{ context: { n: 2 }, stale: true }]);
});
