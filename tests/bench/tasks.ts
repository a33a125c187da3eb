/**
 * Work through crews on two nodes: a burst of which all is under way at once, an even load, one crew at its limit, and the start
 * of agents. A task is acknowledged when its crew has it durably, assigned when a worker runs it, ended when its end is in the pool.
 */
import { crewKind } from "../../actors/crew.ts";
import { type CrewPlan, type CrewReply, WORK_POOL, type WorkEnded } from "../../actors/messages/crew.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import type { AgentPlan } from "../../actors/messages/agent.ts";
import { agentKind } from "../../agents/agent.ts";
import type { Client } from "../../runtime/api.ts";
import { ADD, counter, driver, hand, wallMs } from "./kinds.ts";
import { each, pause, paced, print, rounded, RUN_MS, spread, until, WARM_MS } from "./load.ts";
import { busyCores, type Processes, sampleCpu } from "./process.ts";
import { type Sync, World } from "./world.ts";

/** Tasks under way at once in the burst, and the crews that share them: what one crew holds is bounded by its state. */
const BURST = 10_000;
const CREWS = 20;
const WORKERS = 4;
/** Even load, in tasks and messages a second each. */
const PER_SECOND = 200;
/** Agents started beside the even load, a second. */
const AGENTS_PER_SECOND = 20;
/** The crew that is driven to its limit, by how many actors, with how many workers. */
const LONE = "lone";
const DRIVERS = 64;
const LONE_WORKERS = 32;
/** Patience with one end, in ms. */
const END_MS = 60_000;

interface Ended {
  readonly state: string;
  readonly sentAtMs: number;
  readonly acceptedAtMs: number;
  /** When a worker ran it. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
}

/** Submits as a client does and hears the ends in the pool. */
class Asker {
  readonly #client: Client;
  readonly #waiting = new Map<string, (ended: WorkEnded) => void>();
  #count = 0;

  constructor(client: Client) {
    this.#client = client;
    client.broker.subscribe(client.names.pool(WORK_POOL, "low", "work.ended"), ({ data }) => {
      const { data: ended } = JSON.parse(Buffer.from(data).toString()) as { data: WorkEnded };
      this.#waiting.get(ended.work)?.(ended);
      this.#waiting.delete(ended.work);
    });
  }

  async run(crew: string): Promise<Ended> {
    const id = `w${this.#count++}`;
    const end = new Promise<WorkEnded>((resolve) => this.#waiting.set(id, resolve));
    const sentAtMs = wallMs();
    const answer = (await this.#client.ask(
      crewKind,
      crew,
      { type: "submit", work: { id, data: null } },
      { deadlineMs: END_MS },
    )) as CrewReply;
    if (!answer.ok) throw new Error(answer.message);
    const acceptedAtMs = wallMs();
    const { state, result } = await end;
    const { startedAtMs } = (result ?? { startedAtMs: Number.NaN }) as { readonly startedAtMs: number };
    return { state, sentAtMs, acceptedAtMs, startedAtMs, endedAtMs: wallMs() };
  }
}

async function declare(client: Client, count: number, plan: Partial<CrewPlan>): Promise<void> {
  for (let i = 0; i < count; i++) {
    const whole = { worker: hand.kind, min: WORKERS, max: WORKERS, ...plan };
    await client.ask(crewKind, `c${i}`, { type: "declare", plan: whole });
  }
  await until("all workers have enlisted", 20_000, async () => {
    const views = await Promise.all(Array.from({ length: count }, (_, i) => client.query(crewKind, `c${i}`)));
    return views.every(({ context }) =>
      (context as { members: { sinceMs: number | null }[] }).members.every(({ sinceMs }) => sinceMs !== null),
    );
  });
}

export async function tasks(sync: Sync): Promise<void> {
  await World.open(sync, async (world) => {
    const nodes = [await world.worker("node-worker.ts", "one"), await world.worker("node-worker.ts", "two")];
    const client = await world.client();
    await until(
      "both nodes own shards",
      20_000,
      async () => (await client.nodes()).filter(({ shards }) => (shards?.length ?? 0) > 0).length === 2,
    );
    await declare(client, CREWS, {});
    const asker = new Asker(client);
    const crewOf = (turn: number) => `c${turn % CREWS}`;
    await each(2_000, 64, (turn) => asker.run(crewOf(turn))); // code and heaps are warm
    const processes = { server: world.serverPid, node: nodes.map(({ pid }) => pid) };
    await burst(asker, crewOf, sync, processes);
    await oneCrew(client, sync, processes);
    await pause(1_000);
    await evenly(client, asker, crewOf, sync, processes);
  });
}

async function burst(asker: Asker, crewOf: (turn: number) => string, sync: Sync, processes: Processes): Promise<void> {
  const before = sampleCpu(processes);
  const begunAt = performance.now();
  const ends = await Promise.all(Array.from({ length: BURST }, (_, turn) => asker.run(crewOf(turn))));
  const seconds = (performance.now() - begunAt) / 1_000;
  const lastAcceptedAtMs = Math.max(...ends.map(({ acceptedAtMs }) => acceptedAtMs));
  print({
    bench: "tasks",
    variant: `burst, two nodes, sync ${sync}`,
    ops: BURST,
    done: ends.filter(({ state }) => state === "done").length,
    seconds: rounded(seconds),
    tasks_per_s: rounded(BURST / seconds, 1),
    accepted_s: rounded((lastAcceptedAtMs - Math.min(...ends.map(({ sentAtMs }) => sentAtMs))) / 1_000),
    ...spread(
      "sent_to_assigned",
      ends.map(({ sentAtMs, startedAtMs }) => startedAtMs - sentAtMs),
    ),
    ...busyCores(before, sampleCpu(processes)),
  });
}

/** What one crew assigns at most, since it is one actor: asked by actors, each of which has its own line to it. */
async function oneCrew(client: Client, sync: Sync, processes: Processes): Promise<void> {
  await client.ask(crewKind, LONE, {
    type: "declare",
    plan: { worker: hand.kind, min: LONE_WORKERS, max: LONE_WORKERS },
  });
  for (const inFlight of [1, 4]) {
    const drive = (count: number) =>
      each(DRIVERS, 16, (turn) => client.tell(driver, `d${turn}`, { type: "drive", crew: LONE, inFlight: count }));
    await drive(inFlight);
    await pause(WARM_MS);
    const [first, before] = [await assignedBy(client), sampleCpu(processes)];
    await pause(RUN_MS);
    const [last, after] = [await assignedBy(client), sampleCpu(processes)];
    await drive(0);
    await until("the crew is idle", END_MS, async () => (await lone(client)).running.length === 0);
    print({
      bench: "tasks",
      variant: `one crew at its limit, two nodes, sync ${sync}`,
      concurrency: DRIVERS * inFlight,
      workers: LONE_WORKERS,
      assignments_per_s: rounded((last - first) / ((after.atMs - before.atMs) / 1_000), 1),
      ...busyCores(before, after),
    });
  }
}

const lone = async (client: Client): Promise<CrewContext> =>
  (await client.query(crewKind, LONE)).context as CrewContext;
const assignedBy = async (client: Client): Promise<number> => (await lone(client)).counts.assigned;

/** Latencies under a load that leaves room: in a burst they are the queue's. */
async function evenly(
  client: Client,
  asker: Asker,
  crewOf: (turn: number) => string,
  sync: Sync,
  processes: Processes,
): Promise<void> {
  const before = sampleCpu(processes);
  const ends: Ended[] = [];
  const messages: number[] = [];
  const starts: number[] = [];
  const timed = async (into: number[], call: () => Promise<unknown>) => {
    const sentAt = performance.now();
    await call();
    into.push(performance.now() - sentAt);
  };
  await Promise.all([
    paced(PER_SECOND, RUN_MS, async (turn) => ends.push(await asker.run(crewOf(turn)))),
    paced(PER_SECOND, RUN_MS, (turn) => timed(messages, () => client.tell(counter, `m${turn % 1_000}`, ADD))),
    paced(AGENTS_PER_SECOND, RUN_MS, (turn) =>
      timed(starts, () => client.ask(agentKind, `a${turn}`, { type: "deploy", plan: planOf(`a${turn}`) })),
    ),
  ]);
  print({
    bench: "tasks",
    variant: `even load, two nodes, sync ${sync}`,
    tasks_per_s: PER_SECOND,
    messages_per_s: PER_SECOND,
    agents_per_s: AGENTS_PER_SECOND,
    ops: ends.length,
    done: ends.filter(({ state }) => state === "done").length,
    ...spread(
      "assignment",
      ends.map(({ sentAtMs, startedAtMs }) => startedAtMs - sentAtMs),
    ),
    ...spread(
      "end",
      ends.map(({ startedAtMs, endedAtMs }) => endedAtMs - startedAtMs),
    ),
    ...spread("message", messages),
    ...spread("agent_start", starts),
    ...busyCores(before, sampleCpu(processes)),
  });
}

const planOf = (id: string): AgentPlan => ({
  id,
  version: "1.0.0",
  name: id,
  goal: { type: "continuous", description: "stands by" },
  triggers: [{ type: "alert.*" }],
  pools: ["shared.alerts"],
  maxParallelTasks: 1,
  playbooks: [],
});
