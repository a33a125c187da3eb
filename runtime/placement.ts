/**
 * Which node should own a shard: weighted rendezvous hashing (Thaler, Ravishankar 1998; scores `-w / ln h` after Resch, "New Hashing
 * Algorithms for Data Storage", 2015). Invariant: among nodes that fit alike, a join, a leave or a change of weight moves only shards
 * that this node gains or had, `weight / all weights` of them on average.
 */
import { fnv1a } from "./address.ts";
import { type FixedPlacement, hashOfShard, partsOfShard, type Shard } from "./families.ts";
import type { MemberFacts } from "./membership.ts";

/** What counts of a member. */
export type Place = Pick<MemberFacts, "name" | "kinds" | "labels" | "weight" | "isLeaving">;

/** A member as a place for one shard. */
export interface Candidate {
  /** `<node>.<incarnation>` */
  readonly key: string;
  readonly name: string;
  readonly weight: number;
  readonly score: number;
  /** Why it may not own the shard; null: it may, and the highest score should. */
  readonly unfit: string | null;
}

/** What is known of a kind's placement; null: none of its own; undefined: the kind was never defined. */
export type PlacementOf = (kind: string) => FixedPlacement | null | undefined;

/** The members of one moment as places for shards. */
export class Ranking {
  readonly #members: ReadonlyMap<string, Place>;
  readonly #placementOf: PlacementOf;
  /** Kinds that share the numbered shards, by member: who knows fewer than another cannot take all that comes. */
  readonly #shared: ReadonlyMap<string, number>;
  readonly #most: number;

  constructor(members: ReadonlyMap<string, Place>, placementOf: PlacementOf) {
    this.#members = members;
    this.#placementOf = placementOf;
    const isShared = (kind: string) => placementOf(kind) === null;
    const countOf = ({ kinds, isLeaving }: Place) => (isLeaving === true ? 0 : kinds.filter(isShared).length);
    this.#shared = new Map(Array.from(members, ([key, member]) => [key, countOf(member)]));
    this.#most = Math.max(0, ...this.#shared.values());
  }

  /** The member that should own the shard. `isPinned`: a node of its label's value has owned it. */
  ownerOf(shard: Shard, isPinned: boolean): string | undefined {
    const [best] = this.candidates(shard, isPinned);
    return best?.unfit === null ? best.key : undefined;
  }

  /** All members: those that fit first, the highest score first. */
  candidates(shard: Shard, isPinned: boolean): Candidate[] {
    const unfitOf = typeof shard === "number" ? this.#unfitForShared() : this.#unfitForOwn(shard, isPinned);
    return Array.from(this.#members, ([key, member]): Candidate => {
      const { name, weight, isLeaving } = member;
      const unfit = isLeaving === true ? "is leaving" : unfitOf(key, member);
      return { key, name, weight, score: -weight / Math.log(uniform(name, shard)), unfit };
    }).sort(
      (a, b) =>
        Number(a.unfit !== null) - Number(b.unfit !== null) ||
        b.score - a.score ||
        uniform(b.key, shard) - uniform(a.key, shard), // incarnations of one name
    );
  }

  #unfitForShared(): (key: string) => string | null {
    return (key) => {
      const count = this.#shared.get(key) ?? 0;
      return count === this.#most ? null : `hosts ${count} of the shared kinds, others ${this.#most}`;
    };
  }

  #unfitForOwn(shard: string, isPinned: boolean): (key: string, member: Place) => string | null {
    const { kind, value } = partsOfShard(shard);
    const label = this.#placementOf(kind)?.label ?? null;
    const has = (member: Place) => member.kinds.includes(kind);
    const isThere = (member: Place) => label === null || member.labels[label] === value;
    const isHome = (member: Place) => member.isLeaving !== true && has(member) && isThere(member);
    const isBound = isPinned || [...this.#members.values()].some(isHome);
    return (_, member) => {
      if (!has(member)) return `does not define "${kind}", or not for its roles`;
      return isThere(member) || !isBound ? null : `has not the label ${label}=${value}`;
    };
  }
}

/** Uniform in (0, 1) by name and shard. A restarted node has its former name, so it gets its former shards. */
function uniform(name: string, shard: Shard): number {
  return (mix(mix(fnv1a(name)) ^ hashOfShard(shard)) + 0.5) / 0x1_0000_0000;
}

/** Finaliser of MurmurHash3: FNV alone leaves the high bits of similar names alike. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
