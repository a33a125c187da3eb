/** A seed is a history. Invariant: whoever replays a failing seed sees what failed. */
import { expect, test } from "vitest";
import { runHistory } from "./history.ts";
import { PLANTS, type Plant } from "./planted.ts";

async function traceOf(seed: number, plant?: Plant): Promise<string[]> {
  const lines: string[] = [];
  await runHistory(seed, { write: (line) => lines.push(line), ...(plant !== undefined && { plant }) });
  return lines;
}

test.each([1, 2, 3, 4, 5])("two runs of seed %i are one, line by line", async (seed) => {
  const first = await traceOf(seed);
  expect(first.length).toBeGreaterThan(50);
  expect(await traceOf(seed)).toEqual(first);
});

test("two seeds are two histories", async () => {
  expect(await traceOf(1)).not.toEqual(await traceOf(2));
});

test("a traced run breaks what the silent run broke, and says so", async () => {
  const plant = PLANTS["without-dedupe"];
  const { breaches } = await runHistory(2, { plant: plant as Plant });
  const lines = await traceOf(2, plant);
  expect(breaches).not.toEqual([]);
  expect(lines.filter((line) => line.includes("BREACH"))).toHaveLength(breaches.length);
});
