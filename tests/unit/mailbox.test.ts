/** The mailbox. Invariant: lanes first, first come first served within one, and nothing waits for ever. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Tag } from "../../runtime/envelope.ts";
import { BusyError } from "../../runtime/errors.ts";
import { LANE_AGEING_MS, MAILBOX_LIMIT } from "../../runtime/limits.ts";
import { type Letter, Mailbox } from "../../runtime/mailbox.ts";

const EMPTY = Buffer.alloc(0);

function letter(lane: number, seq: number, arrivedAtMs = 0, tag: Tag = Tag.Tell): Letter {
  const input = { tag, sender: "c", seq, low: 1, ttlMs: 0, lane, event: { type: "GO" } };
  return { input, body: EMPTY, arrivedAtMs, respond: () => undefined };
}

const lanes = fc.integer({ min: 0, max: 3 });

describe("Mailbox", () => {
  test("drain() gives lanes in order, each first come first served, when all came at once", () => {
    fc.assert(
      fc.property(fc.array(lanes, { maxLength: 60 }), (given) => {
        const box = new Mailbox();
        for (const [seq, lane] of given.entries()) box.push(letter(lane, seq));
        const sorted = given.map((lane, seq) => ({ lane, seq })).sort((a, b) => a.lane - b.lane || a.seq - b.seq);
        expect(box.drain(0).map(({ input }) => ({ lane: input.lane, seq: input.seq }))).toEqual(sorted);
        expect(box.size).toBe(0);
      }),
    );
  });

  test("shift() loses none, doubles none and keeps each lane's order, however pushes and shifts mix", () => {
    const steps = fc.array(fc.oneof(fc.record({ lane: lanes }), fc.constant("shift" as const)), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.nat(500), (script, pace) => {
        const box = new Mailbox();
        const served: Letter[] = [];
        let pushed = 0;
        for (const [time, step] of script.entries()) {
          if (step === "shift") {
            const next = box.shift(time * pace);
            if (next !== undefined) served.push(next);
          } else box.push(letter(step.lane, pushed++, time * pace));
          expect(box.size).toBe(pushed - served.length);
        }
        served.push(...box.drain(script.length * pace));
        expect(served.map(({ input }) => input.seq).sort((a, b) => a - b)).toEqual(
          Array.from({ length: pushed }, (_, i) => i),
        );
        for (const lane of [0, 1, 2, 3]) {
          const seqs = served.filter(({ input }) => input.lane === lane).map(({ input }) => input.seq);
          expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
        }
      }),
    );
  });

  test("shift() serves a low letter within its ageing bound, though critical ones never end", () => {
    fc.assert(
      fc.property(lanes, fc.integer({ min: 10, max: 300 }), (lane, pace) => {
        const box = new Mailbox();
        box.push(letter(lane, -1, 0));
        for (let time = 0; ; time += pace) {
          box.push(letter(0, time, time));
          box.push(letter(0, time, time)); // more than is served
          if (box.shift(time)?.input.seq === -1) return;
          // A fresh critical letter waits behind older ones, which age as well: lanes plus the backlog's own age.
          expect(time).toBeLessThanOrEqual(2 * (lane + 2) * LANE_AGEING_MS);
        }
      }),
    );
  });

  test("push() refuses messages at the limit and still takes timers and results", () => {
    const box = new Mailbox();
    for (let seq = 0; seq < MAILBOX_LIMIT; seq++) box.push(letter(2, seq));
    expect(() => box.push(letter(0, 0))).toThrow(BusyError);
    expect(() => box.push(letter(0, 0, 0, Tag.Ask))).toThrow("try again later");
    box.push(letter(1, 0, 0, Tag.TimerFired));
    box.push(letter(1, 1, 0, Tag.InvocationSettled));
    expect(box.size).toBe(MAILBOX_LIMIT + 2);
    expect(box.shift(0)?.input.tag).toBe(Tag.TimerFired);
  });

  test("shift() on an empty mailbox is undefined", () => {
    expect(new Mailbox().shift(5)).toBe(undefined);
  });
});
