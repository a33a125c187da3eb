/** Singletons in an engine's memory. Invariant: there while their shard is, started once. */
import { expect, test } from "vitest";
import { setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { passivateIdle } from "../../runtime/passivation.ts";
import { wakeNamed } from "../../runtime/wake.ts";
import { startEngine } from "../support/engine.ts";

const machine = setup({ types: { events: {} as { type: "GO" } } }).createMachine({ on: { GO: {} } });
const kinds = [
  defineActor({ kind: "single", machine, singleton: true, passivateAfterMs: 1 }),
  defineActor({ kind: "other", machine, passivateAfterMs: 1 }),
];
/** Long enough to store what is dirty, in ms. */
const STORED_MS = 10_000;

test("wakeNamed() starts a singleton once, and passivateIdle() leaves it in memory", async () => {
  const { engine, clock } = startEngine(kinds, 1);
  const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: 1, low: 1, ttlMs: 0, lane: 2, event: { type: "GO" } });
  engine.receive("other", "a", body, () => undefined);
  wakeNamed(engine);
  await clock.advanceAsync(STORED_MS);
  engine.saver.sweep();
  await clock.advanceAsync(STORED_MS);
  passivateIdle(engine);
  expect([...engine.activations.keys()]).toEqual(["single/main"]);
  wakeNamed(engine);
  await clock.advanceAsync(STORED_MS);
  expect(engine.activations.get("single/main")?.state.revision).toBe(1);
});

test("wakeNamed() brings a stored singleton back as it was, and starts none of a shard that is not owned", async () => {
  const { engine, clock } = startEngine(kinds, 1);
  wakeNamed(engine);
  await clock.advanceAsync(STORED_MS);
  await engine.saver.saveAll(() => true);
  for (const activation of engine.activations.values()) engine.drop(activation);
  engine.owned.clear();
  wakeNamed(engine);
  expect(engine.activations.size).toBe(0);
  engine.owned.add(0);
  wakeNamed(engine);
  await clock.advanceAsync(STORED_MS);
  expect(engine.activations.get("single/main")?.state.revision).toBe(1);
});
