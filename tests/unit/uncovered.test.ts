/** The log of inputs without a snapshot, against a plain list that does the same. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Uncovered, type UncoveredRow } from "../../runtime/uncovered.ts";

const body = fc.uint8Array({ maxLength: 600 });
const push = fc.record({ type: fc.constant("push" as const), body, poison: fc.option(fc.string()) });
const drop = fc.record({ type: fc.constant("drop" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) });

describe("Uncovered", () => {
  test("rows() gives what push() took, less what drop() forgot, whatever the order of calls", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(push, drop), { maxLength: 60 }), (steps) => {
        const log = new Uncovered();
        let model: UncoveredRow[] = [];
        let dropped = 0;
        for (const [index, step] of steps.entries()) {
          if (step.type === "push") {
            log.push({ seq: index }, index * 1.5, step.body, step.poison);
            model.push([index, index * 1.5, step.body.slice(), step.poison]);
            step.body.fill(0xff); // the caller's buffer is its own again
          } else {
            const count = Math.floor(step.share * model.length);
            log.drop(count);
            model = model.slice(count);
            dropped += count;
          }
          expect([log.length, log.dropped]).toEqual([model.length, dropped]);
          expect(log.bytes).toBe(model.reduce((sum, [, , bytes]) => sum + bytes.length + 12, 0));
          expect(log.seqAt(0)).toBe(model[0]?.[0]);
          const rows = model.map(([seq, timeMs, bytes, poison]) => [seq, timeMs, Buffer.from(bytes), poison]);
          expect([...log.rows(model.length)]).toEqual(rows);
        }
      }),
    );
  });

  test("seqAt() shows the place once the round is committed", () => {
    const log = new Uncovered();
    const round = { seq: 0 };
    log.push(round, 1, Buffer.from("a"), null);
    expect(log.seqAt(0)).toBe(0);
    round.seq = 7;
    expect(log.seqAt(0)).toBe(7);
  });
});
