/**
 * Calls on a running node. The actor is measured beside the bare echo, in turn, since a shared machine drifts by a third
 * within the hour: only the ratio of neighbouring runs says something.
 */
import { SNAPSHOT_AFTER_MS } from "../../runtime/limits.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { askEcho } from "./echo.ts";
import { ADD, counter } from "./kinds.ts";
import {
  closedLoop,
  each,
  type Figures,
  median,
  pause,
  print,
  ROUNDS,
  rounded,
  RUN_MS,
  sequence,
  until,
  WARM_MS,
} from "./load.ts";
import { busyCores, type Processes, sampleCpu } from "./process.ts";
import { type Sync, World } from "./world.ts";

/** Actors under load. */
const KEYS = 1_000;
const keyOf = (turn: number): string => `k${turn % KEYS}`;
/** Never-seen actors of `cold-key`. */
const COLD_KEYS = 200;
/** Less than this many cores on the node and the server: what the run before left behind is done. */
const QUIET_CORES = 0.1;

export async function askSeq(sync: Sync): Promise<void> {
  // Nothing piles up behind one key: short runs do.
  await compare({ bench: "ask-seq", sync, concurrency: 1, key: () => "one", runMs: RUN_MS / 3, settles: false });
}

export async function ask64(sync: Sync): Promise<void> {
  await compare({ bench: "ask-64", sync, concurrency: 64, key: keyOf, runMs: RUN_MS, settles: true });
}

interface Comparison {
  readonly bench: string;
  readonly sync: Sync;
  readonly concurrency: number;
  readonly key: (turn: number) => string;
  readonly runMs: number;
  /** Wait after an actor's run until its snapshots are written: they are not the echo's to pay. */
  readonly settles: boolean;
}

async function compare({ bench, sync, concurrency, key, runMs, settles }: Comparison): Promise<void> {
  await World.open(sync, async (world) => {
    const node = await world.worker("node-worker.ts", "bench");
    const echo = await world.worker("echo-worker.ts");
    const client = await world.client();
    const broker = await connectBroker({ servers: world.server.url });
    const of = (pid: number): Processes => ({ server: world.serverPid, node: pid });
    const sides = {
      echo: {
        concurrency,
        call: (turn: number) => askEcho(broker, key(turn)),
        processes: of(echo.pid),
        runMs: runMs / 2,
      },
      actor: {
        concurrency,
        call: (turn: number) => client.ask(counter, key(turn), ADD),
        processes: of(node.pid),
        runMs,
      },
    };
    const pairs: { echo: Figures; actor: Figures }[] = [];
    for (const side of Object.values(sides)) await closedLoop({ ...side, runMs: WARM_MS }); // optimised code, grown heaps
    for (let round = 1; round <= ROUNDS; round++) {
      if (settles) await settle(of(node.pid));
      const pair = { echo: await closedLoop(sides.echo), actor: await closedLoop(sides.actor) };
      for (const side of ["actor", "echo"] as const)
        print({ bench, variant: `${side}, sync ${sync}`, round, ...pair[side] });
      pairs.push(pair);
    }
    print({ bench: "ratio", of: bench, variant: `sync ${sync}`, ...ratios(pairs) });
    await broker.close();
  });
}

function ratios(pairs: readonly { echo: Figures; actor: Figures }[]): Record<string, unknown> {
  const over = (figure: "ops_per_s" | "p50_ms") =>
    pairs.map(({ actor, echo }) => rounded(actor[figure] / echo[figure]));
  const middle = (side: "actor" | "echo", figure: "ops_per_s" | "p50_ms") =>
    rounded(median(pairs.map((pair) => pair[side][figure])));
  return {
    actor_over_echo: median(over("ops_per_s")),
    actor_over_echo_p50: median(over("p50_ms")),
    rounds: over("ops_per_s"),
    actor_ops_per_s: middle("actor", "ops_per_s"),
    echo_ops_per_s: middle("echo", "ops_per_s"),
    actor_p50_ms: middle("actor", "p50_ms"),
    echo_p50_ms: middle("echo", "p50_ms"),
  };
}

async function settle(processes: Processes): Promise<void> {
  await pause(SNAPSHOT_AFTER_MS + 500); // only now the last actors that were touched are stored
  await until("node and server are quiet", 30_000, async () => {
    const before = sampleCpu(processes);
    await pause(300);
    const { cpu } = busyCores(before, sampleCpu(processes));
    return (cpu["node"] ?? 0) + (cpu["server"] ?? 0) < QUIET_CORES;
  });
}

export async function query64(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const node = await world.worker("node-worker.ts", "bench");
    const client = await world.client();
    await each(KEYS, 64, (turn) => client.ask(counter, keyOf(turn), ADD));
    const processes = { server: world.serverPid, node: node.pid };
    print({
      bench: "query-64",
      variant: `sync ${sync}`,
      ...(await closedLoop({
        concurrency: 64,
        call: (turn) => client.query(counter, keyOf(turn)),
        processes,
        runMs: RUN_MS / 2,
      })),
    });
  });
}

export async function coldKey(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const node = await world.worker("node-worker.ts", "bench");
    const client = await world.client();
    await each(KEYS, 1, () => client.ask(counter, "warm", ADD)); // the code is warm, only the actors are new
    await each(COLD_KEYS, 1, (turn) => client.ask(counter, `warm-${turn}`, ADD));
    const processes = { server: world.serverPid, node: node.pid };
    print({
      bench: "cold-key",
      variant: `sync ${sync}`,
      ...(await sequence(COLD_KEYS, processes, (turn) => client.ask(counter, `cold-${turn}`, ADD))),
    });
  });
}

/** For orientation: on a machine of few cores two nodes only take each other's. */
export async function twoNodes(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const nodes = [await world.worker("node-worker.ts", "one"), await world.worker("node-worker.ts", "two")];
    const client = await world.client();
    await until("both nodes own shards", 20_000, async () => {
      const infos = await client.nodes();
      return infos.length === 2 && infos.every(({ shards }) => (shards?.length ?? 0) > 0);
    });
    const processes = { server: world.serverPid, node: nodes.map(({ pid }) => pid) };
    print({
      bench: "two-nodes",
      variant: `sync ${sync}`,
      ...(await closedLoop({ concurrency: 64, call: (turn) => client.ask(counter, keyOf(turn), ADD), processes })),
    });
  });
}
