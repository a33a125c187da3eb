/** A run of faults one after another, each told as a JSON line. Invariant: decisions come from the seed alone. */
import type { FaultCluster } from "./cluster.ts";
import { drawFault, type Fault, inflict } from "./faults.ts";
import type { Random } from "./random.ts";
import { pass } from "./wait.ts";

export interface StormOptions {
  readonly kinds: readonly Fault["kind"][];
  /** Ends after so many faults, or when `forMs` has passed. */
  readonly faults: number;
  readonly forMs: number;
  /** Quiet time between two faults at most, in ms. */
  readonly pauseMs: number;
  readonly print?: (line: object) => void;
}

export interface Struck {
  readonly fault: Fault;
  readonly gapMs: number;
}

export async function storm(cluster: FaultCluster, random: Random, options: StormOptions): Promise<readonly Struck[]> {
  const struck: Struck[] = [];
  const names = cluster.nodes.map((node) => node.name);
  const startedAt = performance.now();
  while (struck.length < options.faults && performance.now() - startedAt < options.forMs) {
    await pass(random.int(0, options.pauseMs));
    const fault = drawFault(random, names, options.kinds);
    const gapMs = await inflict(cluster, fault, `probe-${struck.length}`);
    struck.push({ fault, gapMs });
    options.print?.({ ...fault, gapMs, atMs: Math.round(performance.now() - startedAt) });
  }
  return struck;
}
