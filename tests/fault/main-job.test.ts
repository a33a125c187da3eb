/**
 * The whole main job under kill -9: alerts in, tasks with locks and evidence out. Invariant checked: every accepted event is
 * worked on once or counted as a repeat, no device obeys two tasks at a time, and every end has its evidence or its reason.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { FaultCluster } from "./support/cluster.ts";
import { DoorLog } from "./support/door-log.ts";
import { type Fault, strike } from "./support/faults.ts";
import { audit } from "./support/job-audit.ts";
import { type Books, readBooks, untilQuiet } from "./support/job-books.ts";
import { JobLoad, type SentEvent } from "./support/job-load.ts";
import { AGENT, deployJob, DEVICES, HOSTS, SERVICE, SERVICE_MS } from "./support/job-plan.ts";
import { type Random, seeded, seedOfRun } from "./support/random.ts";
import { SkillService } from "./support/skill-service.ts";
import { pass } from "./support/wait.ts";

const EVENTS = 40;
/** Longer than a lease, shorter than a lock: the node wakes up and others have its work. */
const FREEZE_MS = 3_000;
const PAUSE_MAX_MS = 1_200;
/** What a killed node had taken from the pools comes again after half a minute. */
const QUIET_DEADLINE_MS = 60_000;
/** Shorter than definitions may say: about a take-over's time, so that some locks expire under a task that lives on, in ms. */
const LOCK_TTL_MS = 1_500;

/** Each fault once, in the seed's order. */
function faultsOf(random: Random): Fault[] {
  const faults: Fault[] = [
    { kind: "kill", node: "n1", forMs: random.int(0, 500) },
    { kind: "kill", node: "n2", forMs: random.int(0, 500) },
    { kind: "kill-all", forMs: random.int(0, 500) },
    { kind: "kill-server" },
    { kind: "kill-with-server", nodes: [random.pick(["n1", "n2"])], forMs: random.int(0, 500) },
    { kind: "kill-with-server", nodes: ["n1", "n2"], forMs: random.int(0, 500) },
    { kind: "freeze", node: random.pick(["n1", "n2"]), forMs: FREEZE_MS },
  ];
  return faults
    .map((fault) => ({ fault, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ fault }) => fault);
}

const tally = (items: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const item of items) counts[item] = (counts[item] ?? 0) + 1;
  return counts;
};

/** From an event's storage to its task's start at the slowest, in ms. */
function slowestStartMs(books: Books, accepted: readonly SentEvent[]): number {
  const storedAt = new Map(accepted.map(({ key, storedAtMs }) => [key, storedAtMs]));
  const delays = books.tasks.flatMap(({ spec, startedAtMs }) => {
    const stored = storedAt.get(`${spec?.event.source}/${spec?.event.id}`);
    return stored === undefined || startedAtMs === null ? [] : [startedAtMs - stored];
  });
  return Math.max(0, ...delays);
}

let cluster: FaultCluster;
let broker: Broker;
let doors: DoorLog;
let service: SkillService;
beforeAll(async () => {
  cluster = await FaultCluster.start(2, { script: new URL("./workers/system-node.ts", import.meta.url) });
  broker = await connectBroker({ servers: cluster.server.url });
  doors = new DoorLog(broker, cluster.client.names);
  service = new SkillService(broker, cluster.client.names, SERVICE, SERVICE_MS);
});
afterAll(async () => {
  service.stop();
  await doors.stop();
  await broker.close();
  await cluster.stop();
});

test("the main job does each accepted event once, with evidence, whatever is killed or frozen", async () => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "main-job", seed }));
  const random = seeded(seed);
  const { client } = cluster;
  const { names } = client;
  await doors.start(HOSTS, seed);
  await deployJob(client, broker, LOCK_TTL_MS);

  const startedAt = performance.now();
  const since = () => Math.round(performance.now() - startedAt);
  const loading = new JobLoad(broker, names).run(random.fork("load"), HOSTS, EVENTS);
  const storm = random.fork("storm");
  for (const fault of faultsOf(storm)) {
    await pass(storm.int(0, PAUSE_MAX_MS));
    const fromMs = since();
    await strike(cluster, fault);
    console.log(JSON.stringify({ ...fault, fromMs, toMs: since() }));
  }
  const { accepted, duplicates, repeats } = await loading;
  const stormMs = since();
  const keys = new Set(accepted.map(({ key }) => key));
  try {
    await untilQuiet(client, AGENT, keys, DEVICES, QUIET_DEADLINE_MS);
  } catch (error) {
    console.error(cluster.logs(60));
    throw error;
  }
  const quietMs = since();
  const books = await readBooks(client, AGENT, DEVICES);
  const breaches = audit(books, accepted, doors, service);
  const refused = doors.records.filter(({ accepted: isAccepted }) => !isAccepted);
  const late = doors.records.filter((record) => record.late).length;
  console.log(
    JSON.stringify({
      test: "main-job",
      seed,
      stormMs,
      quietMs,
      accepted: accepted.length,
      duplicates,
      repeats,
      counts: books.agent.counts,
      ends: tally(
        books.tasks.map(({ outcome, reason }) => (reason === null ? String(outcome) : `${outcome}: ${reason}`)),
      ),
      grants: tally(books.locks.flatMap(({ history }) => history.map(({ reason }) => String(reason)))),
      commands: doors.records.length,
      late,
      refused: tally(refused.map(({ code }) => String(code))),
      slowestStartMs: slowestStartMs(books, accepted),
      breaches,
    }),
  );
  if (breaches.length > 0) console.error(cluster.logs(60));
  expect(breaches).toEqual([]);
  expect(accepted.length).toBe(EVENTS);
  expect(books.agent.counts.ended.succeeded).toBeGreaterThan(EVENTS / 4);
  expect(late).toBeGreaterThan(0);
});
