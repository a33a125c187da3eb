/** Rounds in their order. Invariant: what waited for room is in the journal before what came later. */
import { expect, test } from "vitest";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { ROUND_MAX_INPUTS } from "../../runtime/limits.ts";
import { decodeRecord } from "../../runtime/round.ts";
import { counter } from "../bench/kinds.ts";
import { startEngine } from "../support/engine.ts";

/** Longer than any wire of the test's world, in ms. */
const SOON_MS = 10;
const WAITING = 10;

test("a message that waits for room in a round goes before those that come while the full round is appended", async () => {
  const { engine, clock, world, names, holdAppends } = startEngine([counter], 4);
  let seq = 0;
  const send = (id: string) => {
    const event = { type: "add", by: 1 };
    const body = encodeInput({ tag: Tag.Tell, sender: "test", seq: ++seq, low: seq, ttlMs: 0, lane: 2, event });
    engine.receive("counter", id, body, () => undefined);
  };
  const ids = Array.from({ length: ROUND_MAX_INPUTS + WAITING }, (_, i) => `a${i}`);
  for (const id of [...ids, "first", "late"]) send(id);
  await clock.advanceAsync(SOON_MS);

  const releaseFirst = holdAppends();
  send("first");
  await clock.advanceAsync(SOON_MS);
  for (const id of ids) send(id);
  expect(engine.scheduler.letters).toBe(WAITING);
  const releaseFull = holdAppends();
  releaseFirst();
  await clock.advanceAsync(SOON_MS);
  send("late");
  releaseFull();
  await clock.advanceAsync(SOON_MS);

  const record = decodeRecord(world.messages(names.stream.journal).at(-1)?.data as Uint8Array);
  const keys = record.type === "round" ? record.inputs.map(([, key]) => key) : [];
  expect(keys).toEqual([...ids.slice(ROUND_MAX_INPUTS), "late"].map((id) => `counter/${id}`));
});
