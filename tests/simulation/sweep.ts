/** The seeds of a CI run, in parts that a worker finishes within a test's time. Invariant: a failure names the command that shows it. */
import { describe, expect, test } from "vitest";
import { runHistory } from "./history.ts";

/** Histories of one test: a second, and far below a test's limit on a machine that is very busy. */
const PART = 25;

/** Judges `count` seeds from `from` on. */
export function judgeSeeds(from: number, count: number): void {
  describe("the auditor finds no law broken", () => {
    const parts = Array.from({ length: Math.ceil(count / PART) }, (_, i) => from + i * PART);
    test.each(parts)(`in the histories of ${PART} seeds from %i on`, async (first) => {
      const failed: string[] = [];
      for (let seed = first; seed < Math.min(first + PART, from + count); seed++) {
        const { breaches } = await runHistory(seed);
        if (breaches.length > 0) failed.push(`${breaches[0]}\n  npm run simulate -- --seed ${seed}`);
      }
      expect(failed).toEqual([]);
    });
  });
}
