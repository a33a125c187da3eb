/**
 * Work through crews on two nodes: an even load and the start of agents, work that lasts until 10,000 pieces are in hand at once, one
 * crew at its limit, and a burst that waits in line. A task is accepted when its crew has it durably, assigned when a worker runs it,
 * ended when its end is in the pool.
 */
import { crewKind } from "../../actors/crew.ts";
import type { AgentPlan } from "../../actors/messages/agent.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import { agentKind } from "../../agents/agent.ts";
import type { Client } from "../../runtime/api.ts";
import { ANSWER_MS, Asker, declare, type Ended, mostAtOnce } from "./asker.ts";
import { ADD, counter, driver, hand, lasting, LASTING_MS, wallMs } from "./kinds.ts";
import { closedLoop, each, pause, paced, print, rounded, RUN_MS, spread, until, WARM_MS } from "./load.ts";
import { busyCores, type Processes, sampleCpu } from "./process.ts";
import { type Sync, World } from "./world.ts";

/** Tasks of the burst and in hand at once, and the crews that share them: what one crew holds is bounded by its state. */
const MANY = 10_000;
const CREWS = 20;
const WORKERS = 4;
/** Crews whose work lasts, and their workers: room for somewhat more than their share of the many. What one input costs a crew grows with what it holds. */
const LASTING_CREWS = 40;
const LASTING_WORKERS = 4;
/** Even load, in tasks and messages a second each. */
const PER_SECOND = 200;
/** Tasks a second that keep somewhat more than the many in hand. */
const LASTING_PER_SECOND = (1.02 * MANY) / (LASTING_MS / 1_000);
/** Agents started beside the even load, a second. */
const AGENTS_PER_SECOND = 20;
/** The crew that is driven to its limit, by how many actors, with how many workers. */
const LONE = "lone";
const DRIVERS = 64;
const LONE_WORKERS = 32;

/** What is measured by whom. */
interface Scene {
  readonly client: Client;
  readonly asker: Asker;
  readonly sync: Sync;
  readonly processes: Processes;
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
    const short = { worker: hand.kind, min: WORKERS, max: WORKERS };
    const long = { worker: lasting.kind, min: LASTING_WORKERS, max: LASTING_WORKERS };
    await declare(client, namesOf("c", CREWS), short);
    await declare(client, namesOf("l", LASTING_CREWS), long);
    const asker = new Asker(client);
    await each(2_000, 64, (turn) => asker.run(crewOf(turn))); // code and heaps are warm
    const processes = { server: world.serverPid, node: nodes.map(({ pid }) => pid) };
    const scene = { client, asker, sync, processes };
    // Latencies first: what the limits leave behind to be stored is not theirs.
    await evenly(scene);
    await manyInHand(scene);
    await oneCrew(scene);
    await pause(1_000);
    await burst(scene);
  });
}

const crewOf = (turn: number): string => `c${turn % CREWS}`;
const lastingCrewOf = (turn: number): string => `l${turn % LASTING_CREWS}`;
const namesOf = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
const doneOf = (ends: readonly Ended[]): number => ends.filter(({ state }) => state === "done").length;

/** All at one instant: what a task waits in line, for its crew and then for a worker, beside what it takes when a worker is free. */
async function burst({ asker, sync, processes }: Scene): Promise<void> {
  const before = sampleCpu(processes);
  const begunAt = performance.now();
  const ends = await Promise.all(Array.from({ length: MANY }, (_, turn) => asker.run(crewOf(turn))));
  const seconds = (performance.now() - begunAt) / 1_000;
  const handed = (some: readonly Ended[]) => some.map(({ acceptedAtMs, startedAtMs }) => startedAtMs - acceptedAtMs);
  const [atOnce, queued] = [
    ends.filter(({ taken }) => taken === "assigned"),
    ends.filter(({ taken }) => taken === "queued"),
  ];
  print({
    bench: "tasks",
    variant: `burst, two nodes, sync ${sync}`,
    ops: MANY,
    done: doneOf(ends),
    seconds: rounded(seconds),
    tasks_per_s: rounded(MANY / seconds, 1),
    ...spread("assignment", ends.map(assignmentMs)),
    ...spread(
      "line_for_the_crew",
      ends.map(({ sentAtMs, acceptedAtMs }) => acceptedAtMs - sentAtMs),
    ),
    queued: queued.length,
    ...spread("line_for_a_worker", handed(queued)),
    worker_free: atOnce.length,
    ...spread("hand_over", handed(atOnce)),
    ...busyCores(before, sampleCpu(processes)),
  });
}

const assignmentMs = ({ sentAtMs, startedAtMs }: Ended): number => startedAtMs - sentAtMs;

/** What one crew does at most, since it is one actor: asked by actors, each of which has its own line to it, then by a client. */
async function oneCrew({ client, asker, sync, processes }: Scene): Promise<void> {
  await declare(client, [LONE], { worker: hand.kind, min: LONE_WORKERS, max: LONE_WORKERS });
  for (const inFlight of [1, 4]) {
    const drive = (count: number) =>
      each(DRIVERS, 16, (turn) => client.tell(driver, `d${turn}`, { type: "drive", crew: LONE, inFlight: count }));
    await drive(inFlight);
    await pause(WARM_MS);
    const [first, before] = [await assignedBy(client), sampleCpu(processes)];
    await pause(RUN_MS);
    const [last, after] = [await assignedBy(client), sampleCpu(processes)];
    await drive(0);
    await until("the crew is idle", ANSWER_MS, async () => (await lone(client)).running.length === 0);
    print({
      bench: "tasks",
      variant: `one crew at its limit, two nodes, sync ${sync}`,
      concurrency: DRIVERS * inFlight,
      workers: LONE_WORKERS,
      assignments_per_s: rounded((last - first) / ((after.atMs - before.atMs) / 1_000), 1),
      ...busyCores(before, after),
    });
  }
  const figures = await closedLoop({ concurrency: 4 * DRIVERS, call: () => asker.run(LONE), processes });
  print({
    bench: "tasks",
    variant: `one crew asked by a client, ends in the pool, two nodes, sync ${sync}`,
    ...figures,
  });
}

const lone = async (client: Client): Promise<CrewContext> =>
  (await client.query(crewKind, LONE)).context as CrewContext;
const assignedBy = async (client: Client): Promise<number> => (await lone(client)).counts.assigned;

/** Latencies under a load that leaves room: in a burst they are the line's. */
async function evenly(scene: Scene): Promise<void> {
  const { asker, sync, processes } = scene;
  const before = sampleCpu(processes);
  const ends: Ended[] = [];
  const [latencies] = await Promise.all([
    beside(scene, "e"),
    paced(PER_SECOND, RUN_MS, async (turn) => ends.push(await asker.run(crewOf(turn)))),
  ]);
  print({
    bench: "tasks",
    variant: `even load, two nodes, sync ${sync}`,
    tasks_per_s: PER_SECOND,
    ops: ends.length,
    done: doneOf(ends),
    ...spread("assignment", ends.map(assignmentMs)),
    ...spread(
      "end",
      ends.map(({ stoppedAtMs, endedAtMs }) => endedAtMs - stoppedAtMs),
    ),
    ...latencies,
    ...busyCores(before, sampleCpu(processes)),
  });
}

/** Work that lasts, sent evenly until the many are in hand at once; from then on as many begin as end, and it is measured. */
async function manyInHand(scene: Scene): Promise<void> {
  const { asker, sync, processes } = scene;
  const ends: Ended[] = [];
  const begunAt = performance.now();
  const tasks = paced(LASTING_PER_SECOND, LASTING_MS + RUN_MS, async (turn) =>
    ends.push(await asker.run(lastingCrewOf(turn))),
  );
  await Promise.race([pause(LASTING_MS), tasks]); // a task that is refused ends the bench here
  const before = sampleCpu(processes);
  const fullAtMs = wallMs();
  const latencies = await beside(scene, "m");
  const cpu = busyCores(before, sampleCpu(processes));
  await tasks;
  const seconds = (performance.now() - begunAt) / 1_000;
  const whileFull = ends.filter(({ sentAtMs }) => sentAtMs >= fullAtMs);
  print({
    bench: "tasks",
    variant: `many in hand at once, two nodes, sync ${sync}`,
    tasks_per_s: LASTING_PER_SECOND,
    crews: LASTING_CREWS,
    in_hand_at_once: mostAtOnce(ends),
    ops: ends.length,
    done: doneOf(ends),
    seconds: rounded(seconds),
    ...spread("assignment_filling", ends.filter(({ sentAtMs }) => sentAtMs < fullAtMs).map(assignmentMs)),
    ...spread("assignment", whileFull.map(assignmentMs)),
    ...spread(
      "end",
      ends.map(({ stoppedAtMs, endedAtMs }) => endedAtMs - stoppedAtMs),
    ),
    ...latencies,
    ...cpu,
  });
}

/** Messages and starts of agents while tasks are under way. */
async function beside({ client }: Scene, prefix: string): Promise<Record<string, number>> {
  const messages: number[] = [];
  const starts: number[] = [];
  const timed = async (into: number[], call: () => Promise<unknown>) => {
    const sentAt = performance.now();
    await call();
    into.push(performance.now() - sentAt);
  };
  await Promise.all([
    paced(PER_SECOND, RUN_MS, (turn) => timed(messages, () => client.tell(counter, `m${turn % 1_000}`, ADD))),
    paced(AGENTS_PER_SECOND, RUN_MS, (turn) => {
      const id = `${prefix}${turn}`;
      return timed(starts, () => client.ask(agentKind, id, { type: "deploy", plan: planOf(id) }));
    }),
  ]);
  return {
    messages_per_s: PER_SECOND,
    agents_per_s: AGENTS_PER_SECOND,
    ...spread("message", messages),
    ...spread("agent_start", starts),
  };
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
