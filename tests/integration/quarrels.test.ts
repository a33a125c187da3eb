/** What a lab quarrels about, with whole tasks on a real node: runs at once, forged ends, events that name no device. */
import pino from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { TaskSpec } from "../../actors/messages/task.ts";
import type { ResourceContext } from "../../actors/resource-state.ts";
import type { TaskContext } from "../../actors/task-state.ts";
import type { AgentContext } from "../../agents/agent-state.ts";
import { AgentRegistry } from "../../agents/registry.ts";
import { defineSkill } from "../../agents/skill.ts";
import { type ComposedNode, composeNode } from "../../gateway/compose-node.ts";
import { type Gateway, startGateway } from "../../gateway/start-gateway.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { UnknownEventError } from "../../runtime/errors.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const AGENT = `
metadata: { id: driver, name: Driver, version: 1.0.0, author: me, description: Drives }
goal: { type: continuous, description: It is driven }
triggers: { events: [{ type: alert.test }], event_pools: [shared.alerts] }
skills: [drive]
permissions: { devices: [take_control] }
playbook: [{ on: alert.test, device: event, steps: [{ id: one, skill: drive, timeout: 60s }] }]
`;
const RUNS = 20;
const WAIT = { timeout: 20_000, interval: 20 };
const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
const names = makeNames();

/** Who is at a device, in order of their coming; how many at once at most. */
const seen = { tasks: [] as string[], now: 0, most: 0 };
let gate = Promise.resolve();

const drive = defineSkill({
  id: "drive",
  description: "Drives",
  needsDevice: true,
  run: async (_args, { task, clock }) => {
    seen.tasks.push(task);
    seen.most = Math.max(seen.most, ++seen.now);
    await gate;
    seen.now--;
    return { status: "succeeded", evidence: [{ kind: "drive", at: clock.now() }] };
  },
});

let server: TestServer;
let node: ComposedNode;
let gateway: Gateway;

beforeAll(async () => {
  server = await startTestServer();
  node = await composeNode({ name: "n1", servers: [server.url], labels: {}, log, skills: [drive] });
  gateway = await startGateway({ servers: server.url, port: 0, log });
  const { broker } = node.node.client;
  const { id, plan } = await new AgentRegistry({ broker, names, skills: node.skills.facts }).register(AGENT);
  await ask("agent", id, { type: "deploy", plan });
});
afterAll(async () => {
  await gateway.stop();
  await node.stop();
  await server.stop();
});

const ask = (kind: string, id: string, event: { type: string; [field: string]: unknown }) =>
  node.node.client.ask(kind, id, event);
const read = async <T>(kind: string, id: string) => {
  const { value, context } = await node.node.client.query(kind, id);
  return { value, context: context as T };
};

function specOf(task: string, lock: string): TaskSpec {
  const [host = "", device = ""] = lock.split(":");
  const place = { host, device };
  const event = { id: task, source: "s", type: "t", timeMs: 1, priority: "normal", data: {}, device: place } as const;
  const step = { id: "one", skill: "drive", with: {}, timeoutMs: 60_000, retries: 0, needsDevice: true };
  return {
    ...{ agent: "nobody", agentVersion: "1.0.0", trigger: "t", event, device: place, priority: "normal" },
    ...{ steps: [step], lockTtlMs: 60_000 },
  };
}

test("20 runs that are started at once on one device drive it one after the other, and all end with evidence", async () => {
  const tasks = Array.from({ length: RUNS }, (_, i) => `run${i}`);
  await Promise.all(tasks.map((task) => ask("task", task, { type: "start", task: specOf(task, "h1:d1") })));
  await vi.waitFor(async () => {
    const ends = await Promise.all(tasks.map(async (task) => (await read("task", task)).value));
    expect(ends).toEqual(tasks.map(() => "succeeded"));
  }, WAIT);
  expect(seen).toMatchObject({ most: 1, now: 0 });
  expect(seen.tasks.toSorted()).toEqual(tasks.toSorted());
  const { history, holders, token } = (await read<ResourceContext>("resource", "h1:d1")).context;
  expect([holders, token]).toEqual([[], RUNS]);
  expect(history.map(({ holder, reason }) => [holder, reason])).toEqual(
    seen.tasks.map((task) => [`task/${task}`, "released"]),
  );
});

test("a forged completion changes nothing: not of a step, a task, a lock, nor of a stop", async () => {
  const open = Promise.withResolvers<void>();
  gate = open.promise;
  const post = async (body: object) =>
    fetch(`${gateway.url}/api/events`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  await post({ type: "alert.test", id: "real", data: { host_name: "h1", device_id: "d2", status: "active" } });
  const task = await vi.waitFor(async () => {
    const [running] = (await read<AgentContext>("agent", "driver")).context.running;
    expect((await read("task", running?.task ?? "none")).value).toBe("running");
    return running?.task ?? "";
  }, WAIT);
  const before = JSON.stringify([
    await read("task", task),
    await read("agent", "driver"),
    await read("resource", "h1:d2"),
  ]);

  const done = { status: "succeeded", evidence: [{ kind: "forged", at: 1 }] };
  const skillDone = { type: "xstate.done.actor.skill", output: done, actorId: "skill" };
  await expect(ask("task", task, skillDone)).rejects.toThrow(UnknownEventError);
  const end = { type: "task.finished", task, state: "succeeded", reason: null, trigger: "alert.test" };
  expect(await ask("agent", "driver", { ...end, lastLookAtMs: 1 })).toMatchObject({
    ...{ ok: false, code: "BAD_REQUEST" },
    message: `The end of task "${task}" is told by that task alone: abort the task instead`,
  });
  for (const type of ["resource.released", "resource.revoked", "resource.refused", "resource.abort"])
    await ask("task", task, { type, resource: "h1:d2", token: 1, reason: "taken over", by: "x", why: "x" });
  for (const type of ["release", "stopped", "yield"])
    expect(await ask("resource", "h1:d2", { type, token: 1, holder: "client/forger" })).toMatchObject({ ok: false });
  // As an event of the lab, it is news that nobody acts on.
  await post({ type: "task.finished", id: "forged", data: { task, state: "succeeded" } });
  expect(
    JSON.stringify([await read("task", task), await read("agent", "driver"), await read("resource", "h1:d2")]),
  ).toBe(before);

  open.resolve();
  await vi.waitFor(async () => expect((await read("task", task)).value).toBe("succeeded"), WAIT);
  expect((await read<TaskContext>("task", task)).context.evidence).toMatchObject([{ kind: "drive" }]);
});

test("an event without device_id starts nothing on any device: its task is refused with what to send", async () => {
  const locks = async () => (await node.node.client.list("resource")).map(({ id }) => id).toSorted();
  const [before, driven] = [await locks(), seen.tasks.length];
  const ended = (await read<AgentContext>("agent", "driver")).context.recent.length;
  const response = await fetch(`${gateway.url}/api/events`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "alert.test", id: "nameless", data: { host_name: "h1", status: "active" } }),
  });
  expect(response.status).toBe(202); // it is a fact, and kept
  const end = await vi.waitFor(async () => {
    const { recent } = (await read<AgentContext>("agent", "driver")).context;
    expect(recent).toHaveLength(ended + 1);
    return recent.at(-1);
  }, WAIT);
  expect(end).toMatchObject({
    state: "failed",
    reason: expect.stringContaining("The event names no device: send host_name and device_id") as string,
  });
  expect([await locks(), seen.tasks.length]).toEqual([before, driven]);
});

test.each([
  ["device_id is left out", { host: "h1" }],
  ["host_name is left out", { device: "d1" }],
  ["the device is left out", undefined],
])("a task in which %s is refused at its start", async (_case, device) => {
  const task = { ...specOf("nameless", "h1:d1"), device };
  expect(await ask("task", "nameless", { type: "start", task })).toEqual({
    ...{ ok: false, code: "BAD_TASK" },
    message: "The device is neither null nor { host, device }",
  });
  expect((await read("task", "nameless")).value).toBe("waiting");
});
