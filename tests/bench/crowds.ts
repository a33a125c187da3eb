/** Many actors at once: first calls that all come together, and memory when far more exist than are awake. */
import type { Worker } from "./process.ts";
import { ADD, counter, sleeper } from "./kinds.ts";
import { each, print, rounded, spread, until } from "./load.ts";
import { pssMb } from "./process.ts";
import { type Sync, World } from "./world.ts";

/** Actors whose first calls are in flight together: as many as one client may have. */
const FIRST_CALLS = 10_000;
/** Actors that exist in the end, of which {@link AWAKE} stay in memory; looked at in steps. */
const SLEEPING = 50_000;
const AWAKE = 1_000;
const STEPS = 5;
/** Patience with the passivation of one step, in ms. */
const STEP_MS = 60_000;

export async function firstCalls(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    for (const name of ["one", "two", "three"]) await world.worker("node-worker.ts", name);
    const client = await world.client();
    const infos = async () => await client.nodes();
    await until(
      "all nodes own shards",
      20_000,
      async () => (await infos()).filter(({ shards }) => (shards?.length ?? 0) > 0).length === 3,
    );
    await each(2_000, 64, (turn) => client.ask(counter, `warm${turn % 30}`, ADD));
    const activations = async () => (await infos()).reduce((sum, info) => sum + (info.activations ?? 0), 0);
    const before = await activations();
    const latencies: number[] = [];
    const begunAt = performance.now();
    const answers = await Promise.all(
      Array.from({ length: FIRST_CALLS }, async (_, turn) => {
        const answer = await client.ask(counter, `f${turn}`, ADD, { deadlineMs: STEP_MS });
        latencies.push(performance.now() - begunAt);
        return (answer as { n: number }).n;
      }),
    );
    const seconds = (performance.now() - begunAt) / 1_000;
    print({
      bench: "first-calls",
      variant: `three nodes, sync ${sync}`,
      ops: FIRST_CALLS,
      seconds: rounded(seconds),
      ops_per_s: rounded(FIRST_CALLS / seconds, 1),
      activations: (await activations()) - before,
      counted_once: answers.filter((n) => n === 1).length,
      ...spread("answer", latencies),
    });
  });
}

export async function residents(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const node = await world.worker("node-worker.ts", "bench");
    const client = await world.client();
    const touch = () => each(AWAKE, 64, (turn) => client.ask(counter, `r${turn}`, ADD));
    await touch();
    const looks: Record<string, number>[] = [];
    for (let step = 0; step <= STEPS; step++) {
      const from = (step * SLEEPING) / STEPS - SLEEPING / STEPS;
      if (step > 0)
        await each(SLEEPING / STEPS, 64, (turn) =>
          client.ask(sleeper, `s${from + turn}`, ADD, { deadlineMs: STEP_MS }),
        );
      await touch(); // those stay
      await until(
        "only the residents are in memory",
        STEP_MS,
        async () => ((await node.ask("info"))["activations"] as number) === AWAKE,
      );
      looks.push({ actors: AWAKE + from + SLEEPING / STEPS, ...(await memoryOf(node)) });
    }
    const [first, warm] = looks;
    const last = looks.at(-1);
    print({
      bench: "residents",
      variant: `sync ${sync}`,
      resident: AWAKE,
      looks,
      // From the second look on: the first load grows heaps and optimises code.
      heap_growth_mb: rounded((last?.["heap_mb"] ?? 0) - (warm?.["heap_mb"] ?? 0), 1),
      heap_growth_bytes_per_actor: Math.round(
        (((last?.["heap_mb"] ?? 0) - (warm?.["heap_mb"] ?? 0)) * 1_048_576) / (SLEEPING - SLEEPING / STEPS),
      ),
      pss_first_mb: first?.["pss_mb"],
      pss_last_mb: last?.["pss_mb"],
    });
  });
}

async function memoryOf(node: Worker): Promise<{ readonly pss_mb: number; readonly heap_mb: number }> {
  const { heapUsed, external } = (await node.ask("gc")) as { heapUsed: number; external: number };
  return { pss_mb: pssMb(node.pid), heap_mb: rounded((heapUsed + external) / 1_048_576, 1) };
}
