/** Versions side by side. Invariant: who reads a shard is preferred. */
import { expect, test } from "vitest";
import { newest, readers } from "../../runtime/versions.ts";

const members = new Map([
  ["old", {}],
  ["new", { versions: { lamp: 2 } }],
  ["leaving", { versions: { lamp: 3 }, isLeaving: true as const }],
]);

test.each([
  ["nothing", {}, ["old", "new", "leaving"]],
  ["what any version reads", { lamp: 1 }, ["old", "new", "leaving"]],
  ["what only newer ones read", { lamp: 2 }, ["new", "leaving"]],
  ["what nobody reads that stays", { lamp: 3 }, ["old", "new", "leaving"]],
])("readers() names, for a shard that holds %s, %j: %j", (_, written, names) => {
  expect([...readers(members, written).keys()]).toEqual(names);
});

test("newest() takes the newer version of each kind, in one order", () => {
  expect(JSON.stringify(newest({ b: 2, a: 3 }, { a: 2, c: 2 }))).toBe('{"a":3,"b":2,"c":2}');
  expect(newest(undefined, {})).toEqual({});
});
