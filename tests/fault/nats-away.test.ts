/** NATS that answers nobody for a while, under load. Invariant: refusals are clear, memory is bounded, all goes on by itself, nothing is lost. */
import type { FastifyInstance } from "fastify";
import pino from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildServer } from "../../gateway/server.ts";
import { systemClock } from "../../runtime/clock.ts";
import { FarSide } from "../support/gateway.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { liveMiB, residentMiB } from "./support/memory.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { pass, until } from "./support/wait.ts";

/** How long it is away, in ms. */
const AWAY_MS = Number(process.env["FAULT_AWAY_MS"] ?? 10_000);
const CALLS_PER_SECOND = 200;
/** Events that devices' hosts post at the same time. */
const POSTERS = 20;
/** Of the gateway's and of each node's process, in MiB: what waits for NATS takes less. */
const MEMORY_SLACK_MIB = 100;

let server: TestServer;
let cluster: FaultCluster;
let gateway: FastifyInstance;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await FaultCluster.start(2, { server });
  gateway = await buildServer({
    client: cluster.client,
    desk: new FarSide().desk(),
    clock: systemClock,
    log: pino({ level: "silent" }),
    host: "127.0.0.1",
    version: "0.1.0",
  });
});
afterAll(async () => {
  await gateway.close();
  await cluster.stop();
});

/** Posts events until told to stop; resolves with the numbers of answers by status and code. */
async function post(name: string, isOver: () => boolean): Promise<Map<string, number>> {
  const answers = new Map<string, number>();
  for (let no = 0; !isOver(); no++) {
    const payload = { type: "ping", source: name, id: String(no), data: { no } };
    const { statusCode, headers, body } = await gateway.inject({ method: "POST", url: "/api/events", payload });
    const code = statusCode === 202 ? "" : (JSON.parse(body) as { code: string }).code;
    const answer = `${statusCode} ${code}${headers["retry-after"] === undefined ? "" : " retry-after"}`.trim();
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
    await pass(50);
  }
  return answers;
}

test("events and calls are refused while NATS is away, and taken when it is back", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: 200 });
  load.pace(CALLS_PER_SECOND);
  await until("the load to run", HEAL_DEADLINE_MS, () => load.acked > 200);
  const memory = () => [liveMiB(), ...cluster.nodes.map(({ pid }) => residentMiB(pid))];
  const before = memory();
  let isOver = false;
  const posters = Array.from({ length: POSTERS }, (_, i) => post(`host-${i}`, () => isOver));

  process.kill(server.embedded.pid, "SIGSTOP");
  const ready = async () => {
    const { statusCode, body } = await gateway.inject({ url: "/health/ready" });
    return { statusCode, parts: (JSON.parse(body) as { degraded: { part: string }[] }).degraded.map((d) => d.part) };
  };
  await pass(AWAY_MS);
  const readyAway = await ready();
  const after = memory();
  process.kill(server.embedded.pid, "SIGCONT");

  const backAt = performance.now();
  await until("the gateway to be ready", HEAL_DEADLINE_MS, async () => (await ready()).statusCode === 200);
  const resumedMs = Math.round(performance.now() - backAt);
  const goal = load.acked + 500;
  await until("the load to go on", HEAL_DEADLINE_MS, () => load.acked > goal);
  isOver = true;
  const answers: Record<string, number> = {};
  for (const some of await Promise.all(posters))
    for (const [answer, count] of some) answers[answer] = (answers[answer] ?? 0) + count;
  await cluster.untilWhole();
  const report = await load.finish();
  const { acked, unknown, lost, doubled } = report;
  console.log(
    JSON.stringify({
      test: "nats-away",
      AWAY_MS,
      answers,
      readyAway,
      before,
      after,
      resumedMs,
      acked,
      unknown,
      lost,
      doubled,
    }),
  );
  expect(readyAway).toEqual({ statusCode: 503, parts: ["nats"] });
  expect(Object.keys(answers).toSorted()).toEqual(["202", "503 BROKER_UNAVAILABLE retry-after"]);
  expect(report).toMatchObject({ breaches: [], lost: 0, doubled: 0 });
  for (const [i, mib] of after.entries()) expect(mib).toBeLessThan((before[i] as number) + MEMORY_SLACK_MIB);
});
