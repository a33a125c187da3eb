/** Listings by last change, on the twin. Invariant: whatever lies between, pages put together are all actors once, newest first. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { PayloadError } from "../../runtime/errors.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { type ChangedActors, recentActors } from "../../runtime/recent.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames();

function world(changed: ChangedActors["changed"] = []) {
  const clock = new SimClock();
  const memory = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const broker = memory.connect("test");
  let reads = 0;
  const counting = {
    getLast: broker.getLast.bind(broker),
    read: async (...args: Parameters<typeof broker.read>) => {
      const found = await broker.read(...args);
      reads += found.length;
      return found;
    },
  };
  const deps = {
    // The rest of the port is not needed for a listing.
    broker: counting as typeof broker,
    names,
    askChanged: async () => [{ node: "n1", changed }],
  };
  return {
    store: async (kind: string, id: string) => await broker.append(names.snapshot(1, kind, id), Buffer.from("x")),
    readCount: () => reads,
    page: (limit: number, cursor?: string) =>
      recentActors(deps, "task", { limit, ...(cursor === undefined ? {} : { cursor }) }),
    all: async (limit: number) => {
      const ids: string[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await recentActors(deps, "task", { limit, ...(cursor === undefined ? {} : { cursor }) });
        ids.push(...page.map(({ id }) => id));
        cursor = page.at(-1)?.cursor;
        if (page.length < limit) return ids;
      }
    },
  };
}

test("recentActors() names what changed just now by time, then what is stored by its place, none twice", async () => {
  const { store, all } = world([
    ["late", 30],
    ["stored", 40],
    ["also", 30],
  ]);
  for (const id of ["old", "stored", "young", "old2", "old"]) await store("task", id);
  const expected = ["stored", "also", "late", "old", "old2", "young"];
  for (const limit of [1, 2, 3, 6, 100]) expect(await all(limit)).toEqual(expected);
});

test("recentActors() finds every actor once, in order, however they lie among others", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ others: fc.integer({ min: 0, max: 700 }), ours: fc.integer({ min: 0, max: 400 }) }), {
        maxLength: 4,
      }),
      fc.constantFrom(1, 7, 100, 1_000),
      async (runs, limit) => {
        const { store, all } = world();
        const expected: string[] = [];
        for (const [run, { others, ours }] of runs.entries()) {
          for (let n = 0; n < others; n++) await store("device", `d${n % 3}`);
          for (let n = 0; n < ours; n++) {
            expected.unshift(`t${run}-${n}`);
            await store("task", `t${run}-${n}`);
          }
        }
        expect(await all(limit)).toEqual(expected);
      },
    ),
    { numRuns: 12 },
  );
});

test("recentActors() reads about a page, not all actors", async () => {
  const { store, page, readCount } = world();
  for (let n = 0; n < 3_000; n++) await store("task", `t${n}`);
  const [first, second] = await page(2);
  expect([first?.id, second?.id]).toEqual(["t2999", "t2998"]);
  expect(readCount()).toBeLessThanOrEqual(300);
});

test.each(["", "x", "s", "s1x", "c5", "c:a", `s${"9".repeat(16)}`])(
  "recentActors() refuses the cursor %j",
  async (cursor) => {
    await expect(world().page(1, cursor)).rejects.toThrow(PayloadError);
  },
);
