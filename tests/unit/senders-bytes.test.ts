/** The state that many senders make. Invariant: whatever bounds let in, the snapshot of an actor fits one message of the server. */
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { encodeCore, newState } from "../../runtime/actor-state.ts";
import { applyInput } from "../../runtime/apply.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { Tag } from "../../runtime/envelope.ts";
import { BusyError } from "../../runtime/errors.ts";
import { MAX_SENDERS, MAX_SENDER_LENGTH } from "../../runtime/limits.ts";
import { runnable } from "../../runtime/runnable.ts";

/** The server's largest message, in bytes, with room for the frame of a snapshot. */
const MAX_SNAPSHOT_BYTES = 1_048_576 - 1_024;

const machine = setup({
  types: { context: {} as { text: string }, events: {} as { type: "FILL"; text: string } },
}).createMachine({
  context: { text: "" },
  on: { FILL: { actions: assign({ text: ({ event }) => event.text }) } },
});

test("an actor that hears as many senders as it may, with the longest names, can be stored", () => {
  const kind = runnable(defineActor({ kind: "popular", machine }));
  const state = newState();
  const text = "x".repeat(200_000);
  let taken = 0;
  try {
    for (let i = 0; i < MAX_SENDERS; i++) {
      const sender = `client-${i}-`.padEnd(MAX_SENDER_LENGTH, "x");
      const event = { type: "FILL", text };
      state.senders.admit(sender, 1, 1, 0);
      applyInput(
        kind,
        { kind: "popular", id: "a" },
        state,
        { tag: Tag.Tell, sender, seq: 1, low: 1, ttlMs: 0, lane: 2, event },
        0,
      );
      taken++;
    }
  } catch (error) {
    expect(error).toBeInstanceOf(BusyError);
  }
  expect(taken).toBeGreaterThan(500);
  expect(encodeCore(state, 1, kind.runner).length).toBeLessThan(MAX_SNAPSHOT_BYTES);
});
