/**
 * A device is taken over by force while a task works with it: by a process of the task's node, a service, a driver's command.
 * Invariant checked: the grant says whether all of it was heard to have stopped, and if so nothing of it acts after the grant.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { leaseWriter, readLease, systemKinds } from "../../actors/index.ts";
import type { TaskSpec } from "../../actors/messages/task.ts";
import type { ResourceContext } from "../../actors/resource-state.ts";
import { agentKind } from "../../agents/agent.ts";
import { runProcess } from "../../agents/run-process.ts";
import { defineSkill, SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { DeviceDoor } from "../../gateway/lab/door.ts";
import { openTokenFile } from "../../gateway/lab/token-file.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Node } from "../../runtime/api.ts";
import { systemClock } from "../../runtime/clock.ts";
import { startNode } from "../../runtime/node.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { scribe, written } from "../support/scribe.ts";

const names = makeNames();
const TTL_MS = 60_000;
const WAIT = { timeout: 15_000, interval: 10 };

let server: TestServer;
let broker: Broker;
let node: Node;
let directory: string;
let tests = 0;
let device: { readonly host: string; readonly device: string };
let lock: string;

/** Writes until it is told to stop, and shrugs off SIGTERM. */
const write = defineSkill({
  id: "write",
  description: "Writes",
  needsDevice: true,
  run: async ({ file }, run) => {
    await runProcess(run, scribe(String(file), { deaf: true }));
    return { status: "failed", message: "It ended by itself" };
  },
});

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
  const { runSkill, stopSkill } = new SkillRegistry([...builtInSkills, write], { broker, names });
  const kinds = [...systemKinds({ runSkill, stopSkill, writeLease: leaseWriter({ broker, names }) }), agentKind];
  node = await startNode({ name: "n1", servers: server.url, kinds, verifyDeterminism: true });
});
afterAll(async () => {
  await node.stop();
  await broker.close();
  await server.stop();
});
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-takeover-"));
  device = { host: "h1", device: `d${++tests}` };
  lock = `h1:d${tests}`;
  return () => rm(directory, { recursive: true, force: true });
});

/** The driver of the device, whose one command is a process that writes. */
async function startDriver(): Promise<void> {
  const door = new DeviceDoor({
    device: lock,
    tokens: await openTokenFile(join(directory, "token")),
    clock: systemClock,
    readLease: () => readLease({ broker, names }, lock),
    run: async ({ params }, signal) => {
      const { exitCode } = await runProcess(
        { signal, clock: systemClock },
        scribe(String(params["file"]), { deaf: true }),
      );
      return { ok: true, output: exitCode, evidence: [] };
    },
  });
  broker.subscribe(names.deviceCommand(device.host, device.device), ({ data, reply }) => {
    const answered = door.handle(JSON.parse(Buffer.from(data).toString("utf8")));
    void answered.then((answer) => broker.publish(reply ?? "", Buffer.from(JSON.stringify(answer))));
  });
  await broker.flush();
}

async function startTask(task: string, skill: string, args: Record<string, unknown> = {}): Promise<void> {
  const event = { id: task, source: "s", type: "t", timeMs: 1, priority: "normal", data: {}, device } as const;
  const step = { id: "one", skill, with: args, timeoutMs: TTL_MS, retries: 0, needsDevice: true };
  const spec: TaskSpec = {
    ...{ agent: "nobody", agentVersion: "1.0.0", trigger: "t", event, device, priority: "normal" },
    ...{ steps: [step], lockTtlMs: TTL_MS },
  };
  await ask("task", task, { type: "start", task: spec });
  await vi.waitFor(async () => expect((await node.client.query("task", task)).value).toBe("running"), WAIT);
}

const ask = (kind: string, id: string, event: { type: string; [field: string]: unknown }) =>
  node.client.ask(kind, id, event);
const lockState = async () => (await node.client.query("resource", lock)).context as ResourceContext;

/** Takes the device; resolves with the grant. */
async function takeOver() {
  await ask("resource", lock, { type: "takeover", by: "client/ops", why: "a demo", ttlMs: TTL_MS });
  return await vi.waitFor(async () => {
    const { history, holders } = await lockState();
    expect(holders).toMatchObject([{ holder: "client/ops" }]);
    return history.at(-1) ?? expect.fail("no grant");
  }, WAIT);
}

/** The file as it is at the grant, and after the next holder's work wrote as often as it would have. */
async function expectSilentSince(file: string, grantedAtMs: number): Promise<void> {
  const count = written(file).length;
  expect(Math.max(...written(file))).toBeLessThanOrEqual(grantedAtMs);
  const [next, controller] = [join(directory, "next"), new AbortController()];
  const running = runProcess({ signal: controller.signal, clock: systemClock }, scribe(next));
  await vi.waitFor(() => expect(written(next).length).toBeGreaterThan(6), WAIT);
  controller.abort();
  await expect(running).rejects.toMatchObject({ code: "ABORTED" });
  expect(written(file)).toHaveLength(count);
}

test.each([
  ["a process of its skill", "write", (file: string) => ({ file })],
  ["a process of its device's driver", "device_command", (file: string) => ({ command: "write", params: { file } })],
] as const)("the grant comes after the end of %s and its grandchildren, and says so", async (_case, skill, args) => {
  await startDriver();
  const file = join(directory, "old");
  const task = `t${tests}`;
  await startTask(task, skill, args(file));
  await vi.waitFor(() => expect(written(file).length).toBeGreaterThan(2), WAIT);
  const grant = await takeOver();
  expect(grant).toMatchObject({ token: 2, confirmed: true });
  await expectSilentSince(file, grant.grantedAtMs);
  const { value, context } = await node.client.query("task", task);
  expect([value, (context as { reason: string }).reason]).toEqual([
    "failed",
    'lock_lost: taken over by "client/ops": a demo',
  ]);
  expect((await lockState()).history[0]).toMatchObject({ reason: "taken over", by: "client/ops", why: "a demo" });
});

test("a lock is given back after an abort only once the processes of the task are gone", async () => {
  await startDriver();
  const file = join(directory, "old");
  await startTask("aborted", "write", { file });
  await vi.waitFor(() => expect(written(file).length).toBeGreaterThan(2), WAIT);
  await ask("task", "aborted", { type: "abort", reason: "enough" });
  const endedAtMs = await vi.waitFor(async () => {
    const [first] = (await lockState()).history;
    expect(first).toMatchObject({ reason: "released" });
    return first?.endedAtMs ?? expect.fail("no end");
  }, WAIT);
  await expectSilentSince(file, endedAtMs);
});

test.each([
  ["says that it stopped", true],
  ["does not say that it stopped", false],
])("the grant after a service that %s is confirmed: %s", async (_case, answers) => {
  await startDriver();
  const service = answers ? "polite" : "deaf";
  const stops: unknown[] = [];
  broker.subscribe(names.skill(service), () => undefined);
  if (answers)
    broker.subscribe(names.skillStop(service), ({ data, reply }) => {
      stops.push(JSON.parse(Buffer.from(data).toString("utf8")));
      broker.publish(reply ?? "", Buffer.from('{"stopped":true}'));
    });
  await broker.flush();
  await startTask(service, `nats:${service}`);
  expect(await takeOver()).toMatchObject({ token: 2, confirmed: answers });
  expect(stops).toEqual(answers ? [{ invocationId: "polite/one/1" }] : []);
});

test("the grant of a device whose driver is not there is not confirmed", async () => {
  await startTask("alone", "wait", { ms: TTL_MS });
  expect(await takeOver()).toMatchObject({ token: 2, confirmed: false });
});
