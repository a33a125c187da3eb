/** Who should own what. Invariant: among nodes that fit alike, a join, leave or new weight moves only shards of that node. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../runtime/address.ts";
import { fixPlacement, type FixedPlacement, type Placement, type Shard, shardIn } from "../../runtime/families.ts";
import type { MemberFacts } from "../../runtime/membership.ts";
import { Ranking } from "../../runtime/placement.ts";

const SHARDS = 64;
const ALL: readonly Shard[] = Array.from({ length: SHARDS }, (_, shard) => shard);
/** Enough for shares to show. */
const MANY: readonly Shard[] = Array.from({ length: 20_000 }, (_, n) => `many=${n}`);

type Given = Partial<Pick<MemberFacts, "kinds" | "labels" | "weight" | "isLeaving">>;
const factsOf = (name: string, given: Given = {}): MemberFacts => ({
  name,
  incarnation: "1",
  connection: "c",
  pid: 1,
  host: "h",
  kinds: ["many"],
  labels: {},
  roles: ["WORKER"],
  weight: 1,
  version: "0",
  ...given,
});
const rank = (nodes: Readonly<Record<string, Given>>, placements: Readonly<Record<string, Placement>> = {}) =>
  new Ranking(
    new Map(Object.entries(nodes).map(([name, given]) => [`${name}.1`, factsOf(name, given)])),
    (kind): FixedPlacement | null => (placements[kind] === undefined ? null : fixPlacement(placements[kind])),
  );
const place = (nodes: Readonly<Record<string, Given>>, shards: readonly Shard[] = ALL) => {
  const ranking = rank(nodes);
  return shards.map((shard) => ranking.ownerOf(shard, false));
};

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/);
const weight = fc.double({ min: 0.1, max: 100, noNaN: true });
const nodes = fc.dictionary(name, fc.record({ weight }), { minKeys: 1, maxKeys: 12 });

describe("Ranking", () => {
  test("moves only shards of the node that joins or leaves, or whose weight changes", () => {
    fc.assert(
      fc.property(nodes, name, weight, weight, (others, node, before, after) => {
        const key = `${node}.1`;
        const { [node]: _, ...without } = others;
        fc.pre(Object.keys(without).length > 0);
        const [away, there, changed] = [
          place(without),
          place({ ...without, [node]: { weight: before } }),
          place({ ...without, [node]: { weight: after } }),
        ];
        for (const shard of ALL as readonly number[]) {
          if (there[shard] !== key) expect(there[shard]).toBe(away[shard]);
          if (there[shard] !== key && changed[shard] !== key) expect(changed[shard]).toBe(there[shard]);
          // More weight loses nothing, less gains nothing.
          if (after >= before && there[shard] === key) expect(changed[shard]).toBe(key);
        }
      }),
    );
  });

  test("does not depend on the order in which nodes are known", () => {
    fc.assert(
      fc.property(nodes, (given) => {
        expect(place(Object.fromEntries(Object.entries(given).toReversed()))).toEqual(place(given));
      }),
    );
  });

  test("gives each node its weight's share, and a node that joins takes no more than that", () => {
    const weights: Given[] = [{ weight: 1 }, { weight: 2 }, { weight: 5 }];
    const given = Object.fromEntries(weights.map((facts, i) => [`node-${i}`, facts]));
    const owners = place(given, MANY);
    for (const [i, { weight: own = 0 }] of weights.entries()) {
      const share = owners.filter((owner) => owner === `node-${i}.1`).length / MANY.length;
      expect(Math.abs(share - own / 8)).toBeLessThan(0.02);
    }
    const joined = place({ ...given, late: { weight: 2 } }, MANY);
    const moved = joined.filter((owner, i) => owner !== owners[i]).length / MANY.length;
    expect(Math.abs(moved - 2 / 10)).toBeLessThan(0.02);
  });

  test("gives equal nodes a rough share of the numbered shards, though names differ in one letter", () => {
    for (const count of [2, 3, 5]) {
      const shards = Array.from({ length: 1_024 }, (_, shard) => shard);
      const owners = place(Object.fromEntries(Array.from({ length: count }, (_, i) => [`node-${i}`, {}])), shards);
      for (let i = 0; i < count; i++) {
        const share = owners.filter((owner) => owner === `node-${i}.1`).length;
        expect(share).toBeGreaterThan((1_024 / count) * 0.8);
        expect(share).toBeLessThan((1_024 / count) * 1.2);
      }
    }
  });

  test("gives a restarted node its former shards", () => {
    const before = place({ n1: {}, n2: {}, n3: {} }).map((owner) => owner?.split(".")[0]);
    const restarted = new Ranking(
      new Map([
        ["n1.7", factsOf("n1")],
        ["n2.1", factsOf("n2")],
        ["n3.9", factsOf("n3")],
      ]),
      () => null,
    );
    expect(ALL.map((shard) => restarted.ownerOf(shard, false)?.split(".")[0])).toEqual(before);
  });

  test("shares the shards among incarnations of one name, while there are two", () => {
    const twins = new Ranking(
      new Map([
        ["n1.1", factsOf("n1")],
        ["n1.2", factsOf("n1")],
      ]),
      () => null,
    );
    expect(new Set(ALL.map((shard) => twins.ownerOf(shard, false))).size).toBe(2);
  });

  test("gives the shared shards only to the nodes that host the most of the shared kinds", () => {
    const given = { n1: { kinds: ["a", "b"] }, n2: { kinds: ["a"] }, n3: { kinds: ["a", "b"] } };
    expect(new Set(place(given))).toEqual(new Set(["n1.1", "n3.1"]));
    const [worst] = rank(given).candidates(0, false).toReversed();
    expect(worst).toMatchObject({ name: "n2", unfit: "hosts 1 of the shared kinds, others 2" });
  });

  test("gives a kind's own shards only to the nodes that host it, and the shared ones regardless of it", () => {
    const ranking = rank({ n1: { kinds: ["a", "own"] }, n2: { kinds: ["a"] } }, { own: {} });
    expect(ALL.map((shard) => ranking.ownerOf(`own=${shard}`, false)).every((owner) => owner === "n1.1")).toBe(true);
    expect(new Set(ALL.map((shard) => ranking.ownerOf(shard, false))).size).toBe(2);
    expect(rank({ n2: { kinds: ["a"] } }, { own: {} }).ownerOf("own=1", false)).toBe(undefined);
  });

  test("gives a host's shard to nodes of that host; to any until there was one; to none once it is pinned", () => {
    const placements = { dev: { label: "host" } };
    const any = { n1: { kinds: ["dev"] }, n2: { kinds: ["dev"], labels: { host: "pi2" } } };
    const all = { ...any, n3: { kinds: ["dev"], labels: { host: "pi1" } } };
    expect(rank(all, placements).ownerOf("dev=pi1", false)).toBe("n3.1");
    expect(rank(any, placements).ownerOf("dev=pi1", false)).not.toBe(undefined);
    expect(rank(any, placements).ownerOf("dev=pi1", true)).toBe(undefined);
    expect(
      rank(any, placements)
        .candidates("dev=pi1", true)
        .map(({ unfit }) => unfit),
    ).toEqual(["has not the label host=pi1", "has not the label host=pi1"]);
  });

  test("gives a leaving node nothing, and what it had to those that stay", () => {
    const given = { n1: { kinds: ["a", "b"], isLeaving: true as const }, n2: { kinds: ["a"] } };
    expect(new Set(place(given))).toEqual(new Set(["n2.1"]));
    expect(rank(given).candidates(0, false).at(-1)).toMatchObject({ name: "n1", unfit: "is leaving" });
  });

  test("has no owner without nodes", () => {
    expect(rank({}).ownerOf(3, false)).toBe(undefined);
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

describe("shardIn()", () => {
  test("is shared, numbered for the kind, or one for each value of the label", () => {
    const number = shardOf("dev", "pi1:tv", SHARDS);
    expect(shardIn("dev", "pi1:tv", null, SHARDS)).toBe(number);
    expect(shardIn("dev", "pi1:tv", fixPlacement({}), SHARDS)).toBe(`dev=${number}`);
    expect(shardIn("dev", "pi1:tv", fixPlacement({ label: "host" }), SHARDS)).toBe("dev=pi1");
    expect(shardIn("dev", "pi1", fixPlacement({ label: "host" }), SHARDS)).toBe("dev=pi1");
    expect(shardIn("dev", "a@b:c", fixPlacement({ label: "host", upTo: "@" }), SHARDS)).toBe("dev=a");
  });
});
