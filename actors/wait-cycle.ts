/**
 * Finds waiters that wait for each other. Invariant: pure; whoever is named waits in a cycle in which nobody can go on, by what
 * the locks told.
 */
import { priorityRank } from "../runtime/priority.ts";
import type { Waiting } from "./messages/wait-graph.ts";

export type Locks = Readonly<
  Record<string, { readonly holders: readonly string[]; readonly waiting: readonly Waiting[] }>
>;

interface Wait extends Waiting {
  readonly resource: string;
}

/** Who gives way, and the cycle in words. */
export interface Deadlock {
  readonly victim: Wait;
  readonly cycle: readonly string[];
}

export function findDeadlock(locks: Locks): Deadlock | null {
  const waits = Object.entries(locks).flatMap(([resource, { waiting }]) =>
    waiting.map((each) => ({ ...each, resource })),
  );
  const stuck = stuckOf(locks, waits);
  const cycle = cycleIn(
    locks,
    waits.filter(({ holder }) => stuck.has(holder)),
    stuck,
  );
  const [victim] = cycle.toSorted(
    (a, b) => priorityRank(b.priority) - priorityRank(a.priority) || b.sinceMs - a.sinceMs,
  );
  if (victim === undefined) return null;
  return { victim, cycle: cycle.map(({ holder, resource }) => `${holder} waits for ${resource}`) };
}

/** Whoever waits for something of which no holder can go on. Who waits for several things needs them all. */
function stuckOf(locks: Locks, waits: readonly Wait[]): Set<string> {
  const stuck = new Set(waits.map(({ holder }) => holder));
  for (let size = -1; size !== stuck.size; ) {
    size = stuck.size;
    const isHopeless = ({ resource }: Wait) => {
      const holders = locks[resource]?.holders ?? [];
      return holders.length > 0 && holders.every((holder) => stuck.has(holder));
    };
    const hopeless = new Set(waits.filter(isHopeless).map(({ holder }) => holder));
    for (const holder of stuck) if (!hopeless.has(holder)) stuck.delete(holder);
  }
  return stuck;
}

/** Follows the stuck from one to the next until one comes again. */
function cycleIn(locks: Locks, waits: readonly Wait[], stuck: ReadonlySet<string>): Wait[] {
  const isHopeless = ({ resource }: Wait) => (locks[resource]?.holders ?? []).every((holder) => stuck.has(holder));
  const waitOf = (holder: string | undefined) => waits.find((wait) => wait.holder === holder && isHopeless(wait));
  const path: Wait[] = [];
  for (let wait = waits.find(isHopeless); wait !== undefined; wait = waitOf(locks[wait.resource]?.holders[0])) {
    const { holder } = wait;
    const seen = path.findIndex((each) => each.holder === holder);
    if (seen >= 0) return path.slice(seen);
    path.push(wait);
  }
  return [];
}
