/**
 * Outages in the middle of a step: nats-server, nodes, and both in one blow. Invariant checked: every task resumes and succeeds in
 * its first attempts, and no device or service does anything twice.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { shardOf } from "../../runtime/address.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { FaultCluster } from "./support/cluster.ts";
import { DoorLog } from "./support/door-log.ts";
import { type Fault, strike } from "./support/faults.ts";
import { audit } from "./support/job-audit.ts";
import { type Books, readBooks, untilQuiet } from "./support/job-books.ts";
import { JobLoad } from "./support/job-load.ts";
import { AGENT, deployJob, DEVICES, HOSTS, SERVICE, SERVICE_MS } from "./support/job-plan.ts";
import { SkillService } from "./support/skill-service.ts";
import { seedOfRun } from "./support/random.ts";
import { until } from "./support/wait.ts";

/** Longer than any outage here: a task that outlives one still has its lock, in ms. */
const LOCK_TTL_MS = 30_000;
/** What a killed node had taken from the pools comes again after some seconds. */
const QUIET_DEADLINE_MS = 40_000;
const STEP_DEADLINE_MS = 10_000;
/** Nodes are started again this long after the blow, in ms: at once, or when the time of the step under way is up. */
const DOWN_MS = { service: 3_500, door: 300 } as const;

let cluster: FaultCluster;
let broker: Broker;
let doors: DoorLog;
let service: SkillService;
let load: JobLoad;
beforeAll(async () => {
  cluster = await FaultCluster.start(2, { script: new URL("./workers/system-node.ts", import.meta.url) });
  broker = await connectBroker({ servers: cluster.server.url });
  const { client } = cluster;
  doors = new DoorLog(broker, client.names);
  await doors.start(HOSTS, seedOfRun());
  service = new SkillService(broker, client.names, SERVICE, SERVICE_MS);
  load = new JobLoad(broker, client.names);
  await deployJob(client, broker, LOCK_TTL_MS);
});
afterAll(async () => {
  service.stop();
  await doors.stop();
  await broker.close();
  await cluster.stop();
});

const taskOf = (invocationId: string): string => invocationId.slice(0, invocationId.indexOf("/"));

/** The task that is the next to reach a step: at the service, or at a device's door. */
async function nextAt(place: "service" | "door"): Promise<string> {
  const list = place === "service" ? service.runs : doors.runs;
  const from = list.length;
  return await until(`a task at the ${place}`, STEP_DEADLINE_MS, () => {
    const run = list[from];
    return run !== undefined && taskOf(run.invocationId);
  });
}

/** The node where the task is. */
async function homeOf(task: string): Promise<string> {
  const shard = shardOf("task", task, cluster.client.shards);
  const home = (await cluster.client.nodes()).find(({ shards }) => shards?.includes(shard));
  return home?.name ?? expect.fail(`Nobody owns the shard of task "${task}"`);
}

const outages: readonly [string, (home: string, forMs: number) => Fault][] = [
  ["nats-server and the task's node", (home, forMs) => ({ kind: "kill-with-server", nodes: [home], forMs })],
  ["both nodes", (_home, forMs) => ({ kind: "kill-all", forMs })],
  ["both nodes and nats-server", (_home, forMs) => ({ kind: "kill-with-server", nodes: ["n1", "n2"], forMs })],
  ["nats-server", () => ({ kind: "kill-server" })],
];
const cases = (["service", "door"] as const).flatMap((place) =>
  outages.map(([what, faultAt]) => [what, place, faultAt] as const),
);

/** The first alerts' tasks, which were under way when it struck: what did not end as it should. */
function shortcomings({ tasks }: Books, keys: readonly string[]): string[] {
  return keys.flatMap((key) => {
    const own = tasks.filter(({ spec }) => `${spec?.event.source}/${spec?.event.id}` === key);
    const [task] = own;
    if (task === undefined || own.length > 1) return [`${key} has ${own.length} tasks`];
    const again = task.steps.filter(({ attempt }) => attempt !== 1).map(({ id }) => id);
    return task.outcome === "succeeded" && task.evidence.length > 0 && again.length === 0
      ? []
      : [`task ${task.id} ended ${task.outcome} (${task.reason}), steps done anew: ${again.join(", ")}`];
  });
}

test.each(cases)("the main job survives SIGKILL of %s while a task is at the %s", async (what, place, faultAt) => {
  await cluster.untilWhole();
  const round = `${what.replaceAll(/[^a-z]+/g, "-")}-${place}`;
  const reached = nextAt(place);
  const keys = await load.alertAll(`${round}-1`, HOSTS);
  const fault = faultAt(await homeOf(await reached), DOWN_MS[place]);
  const startedAt = performance.now();
  // More alerts come in while all is down: each is worked on, or answered by a task that looks later.
  const [more] = await Promise.all([load.alertAll(`${round}-2`, HOSTS), strike(cluster, fault)]);
  const upMs = Math.round(performance.now() - startedAt);
  const all = new Set([...keys, ...more]);
  try {
    await untilQuiet(cluster.client, AGENT, all, DEVICES, QUIET_DEADLINE_MS);
  } catch (error) {
    console.error(cluster.logs(60));
    throw error;
  }
  const books = await readBooks(cluster.client, AGENT, DEVICES);
  const breaches = [...audit(books, load.accepted, doors, service), ...shortcomings(books, keys)];
  const quietMs = Math.round(performance.now() - startedAt);
  const { counts } = books.agent;
  console.log(JSON.stringify({ test: "main-job-outages", fault, place, upMs, quietMs, counts, breaches }));
  if (breaches.length > 0) console.error(cluster.logs(60));
  expect(breaches).toEqual([]);
});
