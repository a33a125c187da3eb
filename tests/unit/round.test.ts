/** Rounds and their bounds. Invariant: what a round takes while it has room always fits one message of the server. */
import { describe, expect, test } from "vitest";
import type { Release } from "../../runtime/round.ts";
import { MAX_CAUSE_LENGTH, MAX_ENVELOPE_BYTES, MAX_MESSAGE_BYTES } from "../../runtime/limits.ts";
import { Journal } from "../../runtime/journal.ts";
import { PayloadError } from "../../runtime/errors.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { Round } from "../../runtime/round.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";

/** The server's largest message, in bytes. */
const MAX_PAYLOAD = 1_048_576;
const NO_RELEASE = {} as Release; // a round only hands it back

describe("Round", () => {
  test.each(["x", "é", "漢", "𝄞"])("encode() fits the server's largest message, full of causes in %s", (character) => {
    const cause = character.repeat(MAX_CAUSE_LENGTH / character.length);
    const round = new Round(1);
    while (!round.isFull) round.add([Date.now(), "kind/id", new Uint8Array(64), cause], NO_RELEASE);
    expect(round.encode().length).toBeLessThan(MAX_PAYLOAD - MAX_MESSAGE_BYTES - MAX_ENVELOPE_BYTES);
  });
});

describe("Journal", () => {
  test("append() throws when the broker refuses the round for good, instead of repeating it for ever", async () => {
    const names = makeNames();
    const clock = new SimClock({ seed: 1 });
    const journal = new Journal({
      broker: createMemoryWorld({ clock, specs: streamSpecs(names) }).connect("n1"),
      clock,
      stream: names.stream.journal,
      subject: names.journal("n1", "1"),
      closed: new AbortController().signal,
    });
    const round = new Round(1);
    round.add([1, "kind/id", new Uint8Array(2 * MAX_PAYLOAD), null], NO_RELEASE);
    await expect(journal.append(round)).rejects.toThrow(PayloadError);
  });
});
