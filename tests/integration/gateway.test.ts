/** The gateway over real HTTP, in front of a real node and server: an event goes in, its task and lock are read back. */
import { readFileSync } from "node:fs";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { crewWorker } from "../../actors/index.ts";
import { type ComposedNode, composeNode } from "../../gateway/compose-node.ts";
import { ListenError } from "../../gateway/errors.ts";
import { type Gateway, startGateway } from "../../gateway/start-gateway.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const LAB_WATCHER = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");
const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
const names = makeNames();
/** A whole task on a busy machine, in ms. */
const TASK_DEADLINE_MS = 15_000;

/** A kind of one's own beside the system's. */
const scanner = crewWorker({ kind: "scanner", capabilities: [], run: async ({ data }) => data });
const compose = () =>
  composeNode({ name: "n1", servers: [server.url], namespace: names.namespace, labels: {}, kinds: [scanner], log });

let server: TestServer;
let broker: Broker;
let node: ComposedNode;
let gateway: Gateway;

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
  broker.subscribe(names.deviceCommand("h1", "*"), (message) => {
    const evidence = [{ kind: "screenshot", at: 1, ref: "shot.jpg" }];
    const answer = { ok: true, output: { blackscreen: false, freeze: false, audio: null }, evidence };
    if (message.reply !== undefined) broker.publish(message.reply, Buffer.from(JSON.stringify(answer)));
  });
  node = await compose();
  gateway = await startGateway({ servers: server.url, port: 0, log });
});
afterAll(async () => {
  await gateway.stop();
  await node.stop();
  await broker.close();
  await server.stop();
});

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}
async function call(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${gateway.url}${path}`, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const post = (path: string, type: string, body: string) =>
  call(path, { method: "POST", headers: { "content-type": type }, body });
const event = (id: string) =>
  post(
    "/api/events",
    "application/json",
    JSON.stringify({ type: "alert.blackscreen", id, data: { host_name: "h1", device_id: "d1", status: "active" } }),
  );
const tasks = async () => (await call("/api/tasks")).body["items"] as Record<string, unknown>[];

describe("startGateway()", () => {
  test("is ready once a node answers", async () => {
    expect(await call("/health/ready")).toEqual({ status: 200, body: { status: "ready", nodes: 1, degraded: [] } });
    expect((await call("/api/nodes")).body["items"]).toMatchObject([
      { name: "n1", kinds: expect.arrayContaining(["task"]) },
    ]);
  });

  test("registers a definition once, and refuses other content for its version", async () => {
    const register = (text: string) => post("/api/agents/register", "application/yaml", text);
    expect(await register(LAB_WATCHER)).toEqual({
      status: 201,
      body: { id: "lab-watcher", version: "1.0.0", created: true, activeVersion: "1.0.0" },
    });
    expect(await register(`# the same\n${LAB_WATCHER}`)).toMatchObject({ status: 200, body: { created: false } });
    expect(await register(LAB_WATCHER.replace(/name: .*/, "name: Other"))).toMatchObject({
      status: 409,
      body: { code: "VERSION_CONFLICT" },
    });
    expect(await register(LAB_WATCHER.replace("1.0.0", "one"))).toMatchObject({
      status: 422,
      body: { errors: [{ line: expect.any(Number) }] },
    });
    expect(await register(LAB_WATCHER.replace("1.0.0", "0.9.0"))).toEqual({
      status: 201,
      body: { id: "lab-watcher", version: "0.9.0", created: true, activeVersion: "1.0.0" },
    });
    expect((await call("/api/agents")).body["items"]).toMatchObject([
      { id: "lab-watcher", version: "1.0.0", live: { node: "n1" } },
    ]);
    expect((await call("/api/agents/lab-watcher")).body).toMatchObject({
      versions: ["1.0.0", "0.9.0"],
      live: { state: { deployed: "idle" } },
    });
    expect(await call("/api/agents/other")).toMatchObject({ status: 404, body: { code: "AGENT_NOT_FOUND" } });
  });

  test("takes an event that leads to a task with evidence under a lock, once however often it is sent", async () => {
    const first = await event("e1");
    expect(first).toMatchObject({ status: 202, body: { id: "e1", seq: expect.any(Number) } });
    expect(await event("e1")).toEqual(first);
    const id = await vi.waitFor(
      async () => {
        const [task] = await tasks();
        expect(task).toMatchObject({ state: "succeeded", agent: "lab-watcher", device: { host: "h1", device: "d1" } });
        return String(task?.["id"]);
      },
      { timeout: TASK_DEADLINE_MS, interval: 50 },
    );
    expect(await tasks()).toHaveLength(1);
    expect((await call("/api/tasks?state=failed")).body["items"]).toEqual([]);
    const { body: task } = await call(`/api/tasks/${id}`);
    expect(task["evidence"]).not.toEqual([]);
    expect(task["steps"]).toEqual(expect.arrayContaining([expect.objectContaining({ status: "succeeded" })]));
    expect(task["event"]).toMatchObject({ id: "e1", source: "http" });

    const { body: lock } = await call("/api/resources/h1:d1");
    expect(lock).toMatchObject({ state: "free", holder: null, token: null, queue: [] });
    expect(lock["history"]).toMatchObject([{ token: 1, holder: `task/${id}`, reason: "released" }]);
    expect((await call("/api/resources")).body["items"]).toMatchObject([{ id: "h1:d1" }]);

    const { body: history } = await call(`/api/actors/task/${id}/history`);
    expect((history["items"] as unknown[])[0]).toMatchObject({
      revision: 1,
      sender: "agent/lab-watcher",
      event: { type: "start" },
    });
    expect((await call(`/api/actors/task/${id}`)).body).toMatchObject({
      state: "succeeded",
      status: "done",
      node: "n1",
    });
    expect((await call("/api/actors/device")).body["items"]).toMatchObject([{ id: "h1:d1", node: "n1" }]);
  });

  test("refuses what is not there", async () => {
    expect(await call("/api/tasks/nobody")).toMatchObject({ status: 404, body: { code: "ACTOR_NOT_FOUND" } });
    expect(await call("/api/actors/nonsense")).toMatchObject({ status: 404, body: { code: "UNKNOWN_KIND" } });
    expect(await call("/api/actors/nonsense/a")).toMatchObject({ status: 404, body: { code: "UNKNOWN_KIND" } });
    expect(await call("/api/actors/task/nobody/history")).toMatchObject({ status: 404 });
  });

  test("names the way out when the port is taken or the address is another machine's", async () => {
    const port = Number(new URL(gateway.url).port);
    const options = { servers: server.url, log };
    await expect(startGateway({ ...options, port })).rejects.toThrow(
      new ListenError(
        `The port ${port} of "127.0.0.1" is taken: stop what listens there, or give another port (0 picks a free one)`,
      ),
    );
    await expect(startGateway({ ...options, port: 0, host: "192.0.2.1" })).rejects.toThrow(
      /is not one of this machine/,
    );
  });

  test("stop() is idempotent, and then nobody listens", async () => {
    const second = await startGateway({ servers: server.url, port: 0, log });
    expect((await fetch(`${second.url}/api/nodes`)).status).toBe(200);
    await Promise.all([second.stop(), second.stop()]);
    await expect(fetch(`${second.url}/health/live`)).rejects.toThrow(TypeError);
  });

  test("stores events while no node is up, and says that it is not ready", async () => {
    await node.stop();
    expect(await call("/health/ready")).toMatchObject({ status: 503, body: { code: "NOT_READY" } });
    expect((await call("/health/live")).status).toBe(200);
    expect(await event("e2")).toMatchObject({ status: 202 });
    expect((await call("/api/actors/nonsense")).status).toBe(503);
    const { items } = (await call("/api/tasks")).body as { items: unknown[] };
    expect(items).toMatchObject([{ unreadable: true }]);
    node = await compose();
    await vi.waitFor(async () => expect((await tasks()).filter(({ state }) => state === "succeeded")).toHaveLength(2), {
      timeout: TASK_DEADLINE_MS,
      interval: 50,
    });
  });
});

test("a crew's workers are of a kind that the node was given beside the system's", async () => {
  const { client } = node.node;
  const declare = { type: "declare", plan: { worker: "scanner", min: 1, max: 1 } };
  expect(await client.ask("crew", "night", declare)).toMatchObject({ ok: true });
  const submit = { type: "submit", work: { id: "job-1", data: { page: 7 } } };
  expect(await client.ask("crew", "night", submit)).toMatchObject({ ok: true });
  await vi.waitFor(
    async () => expect((await call("/api/crews/night")).body).toMatchObject({ counts: { done: 1 } }),
    TASK_DEADLINE_MS,
  );
});
