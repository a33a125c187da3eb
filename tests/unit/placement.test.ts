/** Who owns what. Invariant: a join or leave moves only the shards of the node that joins or leaves. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../runtime/address.ts";
import { placeShard } from "../../runtime/placement.ts";

const SHARDS = 64;
const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}\.[0-9a-f]{12}$/);
const names = fc.uniqueArray(name, { minLength: 1, maxLength: 12 });
const place = (nodes: readonly string[]) => Array.from({ length: SHARDS }, (_, shard) => placeShard(shard, nodes));

describe("placeShard()", () => {
  test("moves only shards of the node that joins or leaves", () => {
    fc.assert(
      fc.property(names, name, (nodes, other) => {
        fc.pre(!nodes.includes(other));
        const [before, after] = [place(nodes), place([...nodes, other])];
        for (const [shard, owner] of before.entries()) {
          if (after[shard] !== other) expect(after[shard]).toBe(owner);
        }
      }),
    );
  });

  test("does not depend on the order in which nodes are known", () => {
    fc.assert(
      fc.property(names, (nodes) => {
        expect(place(nodes.toReversed())).toEqual(place(nodes));
        expect(place(nodes.toSorted())).toEqual(place(nodes));
      }),
    );
  });

  test("gives each node a rough share, though names differ in one letter", () => {
    for (const count of [2, 3, 5]) {
      const nodes = Array.from({ length: count }, (_, i) => `node-${i}.${"ab".repeat(5)}${String(i).padStart(2, "0")}`);
      const shares = nodes.map(
        (node) =>
          Array.from({ length: 1_024 }, (_, shard) => placeShard(shard, nodes)).filter((owner) => owner === node)
            .length,
      );
      for (const share of shares) {
        expect(share).toBeGreaterThan((1_024 / count) * 0.7);
        expect(share).toBeLessThan((1_024 / count) * 1.3);
      }
    }
  });

  test("is undefined without nodes", () => {
    expect(placeShard(3, [])).toBe(undefined);
  });
});

describe("shardOf()", () => {
  test("is a shard, the same for the same address, and spreads ids that count up", () => {
    const counts = Array.from({ length: SHARDS }, () => 0);
    for (let i = 0; i < SHARDS * 200; i++) {
      const shard = shardOf("counter", `k${i}`, SHARDS);
      expect(shard).toBe(shardOf("counter", `k${i}`, SHARDS));
      counts[shard] = (counts[shard] ?? 0) + 1;
    }
    expect(counts).toHaveLength(SHARDS);
    expect(Math.min(...counts)).toBeGreaterThan(100);
    expect(Math.max(...counts)).toBeLessThan(320);
  });
});
