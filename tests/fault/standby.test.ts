/** A killed owner of many freshly dirty actors, with a warm standby and without. Invariant: nothing is lost, nothing counts twice. */
import { expect, test } from "vitest";
import { shardOf } from "../../runtime/address.ts";
import { FaultCluster } from "./support/cluster.ts";
import { counter } from "./support/kinds.ts";
import { until } from "./support/wait.ts";

const ACTORS = 10_000;
/** Calls in flight: under a client's limit, and enough to have all actors dirty before the first are stored. */
const LANES = 256;
const CALL_DEADLINE_MS = 30_000;

interface Takeover {
  readonly msg: string;
  readonly shards: number;
  readonly actors: number;
  /** Shards of which it had shadows. */
  readonly shadowed: number;
  readonly ms: number;
}

/** Counts each id once; resolves with what each counter showed. */
async function countAll({ client }: FaultCluster, ids: readonly string[]): Promise<number[]> {
  const counts: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < ids.length) {
      const id = ids[next++] as string;
      const event = { type: "INC", by: 1 } as const;
      counts.push(((await client.ask(counter, id, event, { deadlineMs: CALL_DEADLINE_MS })) as { n: number }).n);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return counts;
}

test.each([false, true])("a killed owner's actors go on where they were, with a standby: %s", async (standby) => {
  const cluster = await FaultCluster.start(2, { standby });
  try {
    const [victim, heir] = cluster.nodes;
    if (victim === undefined || heir === undefined) throw new Error("The cluster has no two nodes");
    const { shards } = cluster.client;
    const owned = new Set((await cluster.infoOf(victim.name))?.shards);
    const ids: string[] = [];
    for (let i = 0; ids.length < ACTORS; i++) if (owned.has(shardOf(counter.kind, `k${i}`, shards))) ids.push(`k${i}`);

    expect(new Set(await countAll(cluster, ids))).toEqual(new Set([1]));
    const killedAt = performance.now();
    await victim.kill();
    const [first, ...others] = ids;
    const counts = await countAll(cluster, [first as string]);
    const gapMs = Math.round(performance.now() - killedAt);
    counts.push(...(await countAll(cluster, others)));
    const took = await until("the heir to tell of its takeover", CALL_DEADLINE_MS, () =>
      heir.log.map((line) => JSON.parse(line) as Takeover).findLast(({ msg }) => msg === "Took over shards"),
    );
    const { actors, shadowed, ms } = took;
    console.log(
      JSON.stringify({ test: "standby", standby, gapMs, takeoverMs: ms, shards: took.shards, actors, shadowed }),
    );
    expect(counts).toHaveLength(ACTORS);
    expect(counts.filter((n) => n !== 2)).toEqual([]);
    expect(shadowed > 0).toBe(standby);
  } finally {
    await cluster.stop();
  }
});
