/**
 * Kinds of several versions side by side, as in a rolling upgrade. Invariant: a shard goes to a node that reads everything in it
 * while there is one; otherwise to any, which serves what it reads and refuses the rest.
 */
import type { MemberFacts } from "./membership.ts";
import { type PlacementOf, Ranking } from "./placement.ts";
import type { RunnableKind } from "./runnable.ts";

/** Version by kind; a kind of version 1 is left out. */
export type KindVersions = Readonly<Record<string, number>>;

export const versionsOf = (kinds: ReadonlyMap<string, RunnableKind>): KindVersions =>
  Object.fromEntries(
    [...kinds.values()].filter(({ version }) => version > 1).map(({ kind, version }) => [kind, version]),
  );

/** Of each kind the newer version. */
export function newest(one: KindVersions = {}, other: KindVersions = {}): KindVersions {
  const kinds = [...new Set([...Object.keys(one), ...Object.keys(other)])].sort();
  return Object.fromEntries(kinds.map((kind) => [kind, Math.max(one[kind] ?? 1, other[kind] ?? 1)]));
}

/** The members of one moment as places for shards that `written` describes. */
export function rankings(
  members: ReadonlyMap<string, MemberFacts>,
  placementOf: PlacementOf,
): (written: KindVersions | undefined) => Ranking {
  const made = new Map<string, Ranking>();
  return (written = {}) => {
    const key = JSON.stringify(written);
    const ranking = made.get(key) ?? new Ranking(readers(members, written), placementOf);
    made.set(key, ranking);
    return ranking;
  };
}

/** Those of `members` that read what is written; all of them, if none does that stays. */
export function readers<T extends Pick<MemberFacts, "versions" | "isLeaving">>(
  members: ReadonlyMap<string, T>,
  written: KindVersions,
): ReadonlyMap<string, T> {
  const reads = ([, { versions = {} }]: [string, T]) =>
    Object.entries(written).every(([kind, version]) => (versions[kind] ?? 1) >= version);
  const found = [...members].filter(reads);
  return found.some(([, { isLeaving }]) => isLeaving !== true) ? new Map(found) : members;
}
