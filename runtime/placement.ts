/**
 * Which node should own a shard: rendezvous hashing (Thaler, Ravishankar 1998). Invariant: when a node joins or leaves, only
 * shards that it gains or had move.
 */
import { fnv1a } from "./address.ts";

/** The node of `nodes` (names) that should own `shard`, or undefined when there is none. */
export function placeShard(shard: number, nodes: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestScore = -1;
  for (const node of nodes) {
    const score = mix(fnv1a(node) ^ Math.imul(shard + 1, 0x9e3779b1));
    if (score > bestScore || (score === bestScore && node < (best as string))) {
      best = node;
      bestScore = score;
    }
  }
  return best;
}

/** Finaliser of MurmurHash3: FNV alone leaves the high bits of similar names alike. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
