/** What a node costs besides calls: its start, and the memory of actors that sleep and of actors that stay. */
import type { ActorKind } from "../../runtime/define-actor.ts";
import { ADD, counter, sleeper } from "./kinds.ts";
import { each, median, print, rounded, sequence, until } from "./load.ts";
import { pssMb, type Worker } from "./process.ts";
import { type Sync, World } from "./world.ts";

const BOOTS = 5;
/** Actors that are created and leave memory again. */
const PASSIVATED = Number(process.env["BENCH_PASSIVATED"] ?? 100_000);
/** Actors that stay in memory. */
const RESIDENT = Number(process.env["BENCH_RESIDENT"] ?? 10_000);
/** Patience with the passivation of all of them, in ms. */
const PASSIVATION_MS = 300_000;
/** Calls before the first look at the memory: code and buffers are in it, actors are not. */
const WARM_CALLS = 5_000;

export async function boot(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const runs: { total: number; loaded: number; startNode: number }[] = [];
    for (let turn = 0; turn <= BOOTS; turn++) {
      const client = turn === 0 ? undefined : await world.client();
      const forkedAt = performance.now();
      const node = await world.worker("node-worker.ts", "bench");
      await (client ?? (await world.client())).ask(counter, "first", ADD);
      const { begun_ms: loaded, start_node_ms: startNode } = node.greeting as Record<string, number>;
      runs.push({ total: performance.now() - forkedAt, loaded: loaded as number, startNode: startNode as number });
      await node.stop();
    }
    const [first, ...later] = runs;
    const middle = (of: "total" | "loaded" | "startNode") => rounded(median(later.map((run) => run[of])), 1);
    print({
      bench: "boot",
      variant: `sync ${sync}`,
      ops: BOOTS,
      p50_ms: middle("total"),
      modules_ms: middle("loaded"),
      start_node_ms: middle("startNode"),
      first_ever_ms: rounded(first?.total ?? 0, 1),
    });
  });
}

export async function passivated(sync: Sync): Promise<void> {
  const allHaveLeft = async (node: Worker) => {
    await until(
      "all actors have left memory",
      PASSIVATION_MS,
      async () => (await node.ask("info"))["activations"] === 0,
    );
  };
  // As many before the first look: what the work leaves behind in a process, such as grown heaps, comes once and not per actor.
  await memory({
    bench: "passivated",
    sync,
    before: PASSIVATED,
    count: PASSIVATED,
    kind: sleeper,
    settled: allHaveLeft,
  });
}

export async function resident(sync: Sync): Promise<void> {
  await memory({ bench: "resident", sync, before: 0, count: RESIDENT, kind: counter, settled: async () => undefined });
}

interface Crowd {
  readonly bench: string;
  readonly sync: Sync;
  /** Actors that are created before the first look at the memory. */
  readonly before: number;
  readonly count: number;
  readonly kind: ActorKind;
  readonly settled: (node: Worker) => Promise<void>;
}

async function memory({ bench, sync, before: earlier, count, kind, settled }: Crowd): Promise<void> {
  await World.open(sync, async (world) => {
    const node = await world.worker("node-worker.ts", "bench");
    const client = await world.client();
    const create = (name: string, actors: number) =>
      each(actors, 64, (turn) => client.ask(kind, `${name}${turn}`, ADD, { deadlineMs: 60_000 }));
    await each(WARM_CALLS, 64, () => client.ask(kind, "warm", ADD));
    await settled(node);
    const fresh = await memoryOf(node);
    await create("b", earlier);
    await settled(node);
    const before = await memoryOf(node);
    const begunAt = performance.now();
    await create("a", count);
    const createdAt = performance.now();
    await settled(node);
    const settledAt = performance.now();
    const after = await memoryOf(node);
    const processes = { server: world.serverPid, node: node.pid };
    const again = await sequence(100, processes, (turn) => client.ask(kind, `a${turn}`, ADD));
    print({
      bench,
      variant: `sync ${sync}`,
      concurrency: 64,
      ops: count,
      seconds: rounded((createdAt - begunAt) / 1_000),
      ops_per_s: rounded(count / ((createdAt - begunAt) / 1_000), 1),
      settle_s: rounded((settledAt - createdAt) / 1_000, 1),
      fresh_mb: fresh.pss,
      created_before: earlier,
      before_mb: before.pss,
      after_mb: after.pss,
      delta_mb: rounded(after.pss - before.pss, 1),
      heap_delta_mb: rounded(after.heap - before.heap, 1),
      bytes_per_actor: Math.round(((after.heap - before.heap) * 1_048_576) / count),
      again_p50_ms: again.p50_ms,
      other_busy: again.other_busy,
    });
  });
}

async function memoryOf(node: Worker): Promise<{ readonly pss: number; readonly heap: number }> {
  const { heapUsed, external } = (await node.ask("gc")) as { heapUsed: number; external: number };
  return { pss: pssMb(node.pid), heap: (heapUsed + external) / 1_048_576 };
}
