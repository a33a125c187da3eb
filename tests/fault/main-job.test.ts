/**
 * The whole main job under kill -9: alerts in, tasks with locks and evidence out. Invariant checked: every accepted event is
 * worked on once or counted as a repeat, no device obeys two tasks at a time, and every end has its evidence or its reason.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { agentKind, AgentRegistry, builtInSkills } from "../../agents/index.ts";
import { LAB_HOSTS, type LabHost } from "../../gateway/lab/hosts.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { FaultCluster } from "./support/cluster.ts";
import { DoorLog } from "./support/door-log.ts";
import { type Fault, strike } from "./support/faults.ts";
import { audit } from "./support/job-audit.ts";
import { type Books, readBooks, untilQuiet } from "./support/job-books.ts";
import { ALERT, CHECK, JobLoad, type SentEvent } from "./support/job-load.ts";
import { type Random, seeded, seedOfRun } from "./support/random.ts";
import { pass } from "./support/wait.ts";

const EVENTS = 40;
/** Longer than a lease, shorter than a lock: the node wakes up and others have its work. */
const FREEZE_MS = 3_000;
const PAUSE_MAX_MS = 1_200;
/** What a killed node had taken from the pools comes again after half a minute. */
const QUIET_DEADLINE_MS = 60_000;
const AGENT = "main-job";
/** Shorter than definitions may say: about a take-over's time, so that some locks expire under a task that lives on, in ms. */
const LOCK_TTL_MS = 1_500;

/** Its pause in the middle is where many of the kills land. */
const DEFINITION = `
metadata: { id: ${AGENT}, name: Main job, version: 1.0.0, author: tests, description: Recovers a device }
goal: { type: continuous, description: Every device shows a live picture }
triggers:
  events: [{ type: ${ALERT}, priority: critical }, { type: ${CHECK}, priority: normal }]
  event_pools: [shared.alerts, shared.events]
skills: [capture_screenshot, press_key, wait, analyse_frame]
permissions: { devices: [read, take_control] }
config: { max_parallel_tasks: 8, auto_retry: true, timeout_seconds: 50 }
playbook:
  - on: ${ALERT}
    device: event
    lock_ttl: 5s
    steps: &recover
      - { id: before, skill: capture_screenshot, timeout: 3s, retries: 3 }
      - { id: wake, skill: press_key, with: { key: HOME }, timeout: 3s, retries: 3 }
      - { id: settle, skill: wait, with: { ms: 300 } }
      - { id: verify, skill: analyse_frame, timeout: 3s, retries: 3 }
  - { on: ${CHECK}, device: event, lock_ttl: 5s, steps: *recover }
`;

/** Six devices on two hosts, as the lab has them. */
const HOSTS: readonly LabHost[] = LAB_HOSTS.map((host) => ({
  name: host.name,
  devices: ["device1", "device2", "device3"].map((id, i) => ({ ...host.devices[i % host.devices.length]!, id })),
}));
const DEVICES = HOSTS.flatMap((host) => host.devices.map(({ id }) => `${host.name}:${id}`));

/** Each fault once, in the seed's order. */
function faultsOf(random: Random): Fault[] {
  const faults: Fault[] = [
    { kind: "kill", node: "n1", forMs: random.int(0, 500) },
    { kind: "kill", node: "n2", forMs: random.int(0, 500) },
    { kind: "kill-all", forMs: random.int(0, 500) },
    { kind: "kill-server" },
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

/** From an event's storage to its task's start at the slowest, in ms; and tasks that were done when they heard that their lock had expired. */
function extremes(
  books: Books,
  accepted: readonly SentEvent[],
): { slowestStartMs: number; doneBeforeTheyHeard: number } {
  const storedAt = new Map(accepted.map(({ key, storedAtMs }) => [key, storedAtMs]));
  const delays = books.tasks.flatMap(({ spec, startedAtMs }) => {
    const stored = storedAt.get(`${spec?.event.source}/${spec?.event.id}`);
    return stored === undefined || startedAtMs === null ? [] : [startedAtMs - stored];
  });
  const expired = new Set(
    books.locks.flatMap(({ history }) =>
      history.flatMap((grant) => (grant.reason === "expired" ? [grant.holder] : [])),
    ),
  );
  const late = books.tasks.filter(({ id, outcome }) => outcome === "succeeded" && expired.has(`task/${id}`));
  return { slowestStartMs: Math.max(0, ...delays), doneBeforeTheyHeard: late.length };
}

let cluster: FaultCluster;
let broker: Broker;
let doors: DoorLog;
beforeAll(async () => {
  cluster = await FaultCluster.start(2, new URL("./workers/system-node.ts", import.meta.url));
  broker = await connectBroker({ servers: cluster.server.url });
  doors = new DoorLog(broker, cluster.client.names);
});
afterAll(async () => {
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
  const skills = new Map(builtInSkills.map((skill) => [skill.id, skill]));
  const { plan } = await new AgentRegistry({ broker, names, skills }).register(DEFINITION);
  const playbooks = plan.playbooks.map((playbook) => ({ ...playbook, lockTtlMs: LOCK_TTL_MS }));
  await client.ask(agentKind, AGENT, { type: "deploy", plan: { ...plan, playbooks } });

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
  const breaches = audit(books, accepted, doors.records);
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
      ...extremes(books, accepted),
      breaches,
    }),
  );
  if (breaches.length > 0) console.error(cluster.logs(60));
  expect(breaches).toEqual([]);
  expect(accepted.length).toBe(EVENTS);
  expect(books.agent.counts.ended.succeeded).toBeGreaterThan(EVENTS / 4);
  expect(late).toBeGreaterThan(0);
});
