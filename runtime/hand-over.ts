/**
 * Giving shards away in good order. Invariant: at any moment few of them wait for their next owner; running invocations get time
 * to finish, and what does not finish starts again there under the same id.
 */
import { sleep } from "./clock.ts";
import type { Engine } from "./engine.ts";
import type { Shard } from "./families.ts";

/** Shards that are released together: callers of the others notice nothing yet, callers of these wait for few to be stored. */
const RELEASE_AT_ONCE = 8;
/** How long a node that leaves lets running invocations finish, in ms. */
export const INVOCATION_GRACE_MS = 5_000;
/** Pause between looks at them, in ms. */
const INVOCATION_POLL_MS = 20;

/** Releases all `shards`; those with running invocations last, and at the latest after `graceMs`. */
export async function handOver(
  engine: Engine,
  shards: readonly Shard[],
  graceMs: number,
  release: (shards: readonly Shard[]) => Promise<void>,
): Promise<void> {
  const { clock } = engine.options;
  const graceEndsAt = clock.monotonic() + graceMs;
  const left = new Set(shards);
  await engine.saver.coverAll((activation) => left.has(activation.shard));
  while (left.size > 0) {
    const waiting = clock.monotonic() < graceEndsAt ? invokingShards(engine) : new Set();
    const ready = [...left].filter((shard) => !waiting.has(shard)).slice(0, RELEASE_AT_ONCE);
    if (ready.length === 0) await sleep(clock, INVOCATION_POLL_MS);
    else await release(ready);
    for (const shard of ready) left.delete(shard);
  }
}

function invokingShards(engine: Engine): Set<Shard> {
  const shards = new Set<Shard>();
  for (const { shard, running } of engine.activations.values()) if (running.size > 0) shards.add(shard);
  return shards;
}
