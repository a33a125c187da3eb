/** Actors of a shard that leaves. Invariant: they rest once all is committed, and never by the end of the incarnation. */
import { expect, test } from "vitest";
import { setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { SealedError } from "../../runtime/errors.ts";
import { settleActors } from "../../runtime/settle.ts";
import { settlePromises } from "../../runtime/testkit/sim-clock.ts";
import { startEngine } from "../support/engine.ts";

const machine = setup({ types: { events: {} as { type: "GO" } } }).createMachine({ on: { GO: {} } });

/** An engine with one actor, whose input waits for its append until `commit`. */
async function startWaiting() {
  const bench = startEngine([defineActor({ kind: "actor", machine })], 1);
  const commit = bench.holdAppends();
  const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: 1, low: 1, ttlMs: 0, lane: 2, event: { type: "GO" } });
  bench.engine.receive("actor", "a", body, () => undefined);
  await settlePromises();
  return { ...bench, commit };
}

test("settleActors() waits for the commit of what was taken", async () => {
  const { engine, clock, commit } = await startWaiting();
  let isSettled = false;
  const settling = settleActors(engine, () => true).then(() => {
    isSettled = true;
  });
  await clock.advanceAsync(1_000);
  expect(isSettled).toBe(false);
  commit();
  await clock.advanceAsync(10);
  await settling;
  expect(engine.activations.get("actor/a")?.isFrozen).toBe(true);
});

test("settleActors() rejects when the incarnation ends: its actors left memory, and are not committed", async () => {
  const { engine, clock, end } = await startWaiting();
  let outcome: unknown;
  settleActors(engine, () => true).then(
    () => (outcome = "at rest"),
    (error: unknown) => (outcome = error),
  );
  await clock.advanceAsync(10);
  end();
  for (const activation of [...engine.activations.values()]) engine.drop(activation);
  await clock.advanceAsync(10);
  expect(outcome).toBeInstanceOf(SealedError);
});
