/** What the HTTP door shows of actors. Invariant: reads send nothing; one unreadable actor fails no list. */
import { describe, expect, test } from "vitest";
import type { LiveNodeInfo } from "../../runtime/api.ts";
import { BusyError, DeadLetterError, DeadlineError, QuarantinedError } from "../../runtime/errors.ts";
import { nodeInfo, openDoor } from "../support/gateway.ts";

const STEP = {
  id: "shot",
  skill: "capture_screenshot",
  status: "succeeded",
  evidence: [{ kind: "screenshot", at: 5 }],
};
const task = (agent: string, more: object = {}) => ({
  spec: {
    agent,
    agentVersion: "1.0.0",
    trigger: "alert.freeze",
    priority: "high",
    device: { host: "h1", device: "d1" },
    event: { id: "e1" },
  },
  steps: [STEP],
  evidence: STEP.evidence,
  lock: { resource: "h1:d1", token: 4 },
  reason: null,
  startedAtMs: 1_000,
  endedAtMs: null,
  ...more,
});

describe("/health", () => {
  test("is ready when NATS is connected and a node answers", async () => {
    const { send } = await openDoor();
    expect((await send({ url: "/health/live" })).json()).toEqual({ status: "live" });
    expect((await send({ url: "/health/ready" })).json()).toEqual({ status: "ready", nodes: 1, degraded: [] });
  });

  test("is live but not ready without NATS, without nodes, and while nodes cannot be read", async () => {
    const { send, far } = await openDoor();
    const notReady = async () => {
      const answer = await send({ url: "/health/ready" });
      expect(answer.headers["retry-after"]).toBe("1");
      expect((await send({ url: "/health/live" })).statusCode).toBe(200);
      const { code, degraded } = answer.json<{ code: string; degraded: { part: string }[] }>();
      return [answer.statusCode, code, ...degraded.map(({ part }) => part)];
    };
    far.nodes = [];
    expect(await notReady()).toEqual([503, "NOT_READY", "nodes"]);
    far.faults.set("nodes", () => new BusyError("busy"));
    expect(await notReady()).toEqual([503, "NOT_READY", "streams"]);
    far.faults.clear();
    far.status = "disconnected";
    expect(await notReady()).toEqual([503, "NOT_READY", "nats"]);
  });

  test("names a node that refuses messages, and stays up for reads", async () => {
    const { send, far } = await openDoor();
    far.nodes = [{ ...(nodeInfo("n1") as LiveNodeInfo), refusal: "The journal is full" }, nodeInfo("n2")];
    const answer = await send({ url: "/health/ready" });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      status: "degraded",
      nodes: 2,
      degraded: [{ part: "writes", detail: 'Node "n1" refuses messages: The journal is full' }],
    });
  });
});

describe("/api/dead", () => {
  const letter = {
    seq: 7,
    reason: "poison",
    kind: "counter",
    id: "a",
    cause: "TypeError: No number",
    timeMs: 5,
    sender: "c1",
    event: { type: "add" },
    revision: 2,
  };
  const mark = { verb: "retried", by: "ann", why: "w", timeMs: 6, isEdited: false, outcome: "applied" } as const;
  const audit = { by: "ann", why: "fixed" };
  const headers = { "content-type": "application/json" };

  test("lists letters with what became of them, and shows one", async () => {
    const { send, far } = await openDoor();
    far.letters.push(letter, { ...letter, seq: 8, mark });
    expect((await send({ url: "/api/dead?limit=5" })).json()).toEqual({ items: far.letters });
    expect(far.calls).toEqual(["dead 5"]);
    expect((await send({ url: "/api/dead/8" })).json()).toEqual({ ...letter, seq: 8, mark });
    const unknown = await send({ url: "/api/dead/9" });
    expect([unknown.statusCode, unknown.json<{ code: string }>().code]).toEqual([404, "LETTER_NOT_FOUND"]);
  });

  test("retries, edits, skips and resumes, with who and why", async () => {
    const { send, far } = await openDoor();
    const post = async (url: string, payload: object) => await send({ method: "POST", url, headers, payload });
    expect((await post("/api/dead/7/retry", audit)).json()).toEqual({ reply: { n: 1 } });
    await post("/api/dead/7/retry", { ...audit, event: { type: "add", by: 2 } });
    expect((await post("/api/dead/7/skip", audit)).json()).toEqual({ skipped: 7 });
    expect((await post("/api/actors/counter/a/resume", audit)).json()).toEqual({ state: null });
    expect(far.calls).toEqual([
      "retry 7 ann fixed -",
      "retry 7 ann fixed add",
      "skip 7 ann fixed",
      "resume counter/a ann fixed",
    ]);
  });

  test("refuses what says not who or why, and passes refusals on", async () => {
    const { send, far } = await openDoor();
    const post = async (url: string, payload: object) =>
      (await send({ method: "POST", url, headers, payload })).json<{ status: number; code: string }>();
    for (const payload of [{}, { by: "ann" }, { by: "ann", why: " " }, { ...audit, more: 1 }, { ...audit, event: {} }])
      expect((await post("/api/dead/7/retry", payload)).status).toBeGreaterThanOrEqual(400);
    expect((await post("/api/dead/0/skip", audit)).status).toBe(400);
    expect(far.calls).toEqual([]);
    far.faults.set("retry", () => new DeadLetterError("Dead letter 7 was retried before"));
    expect(await post("/api/dead/7/retry", audit)).toMatchObject({ status: 409, code: "DEAD_LETTER" });
    far.faults.set("resume", () => new QuarantinedError("It is"));
    expect(await post("/api/actors/counter/a/resume", audit)).toMatchObject({ status: 409, code: "QUARANTINED" });
  });
});

describe("/api/actors", () => {
  test("shows state, context, revision and node, whatever the context holds", async () => {
    const { send, far } = await openDoor();
    const context = {
      at: new Date(0),
      bytes: new Uint8Array([1, 2]),
      buffer: Buffer.from([3]),
      big: 2n ** 70n,
      nan: Number.NaN,
    };
    far.add("device", "h1:d1", { online: "idle" }, context);
    expect((await send({ url: "/api/actors/device/h1:d1" })).json()).toEqual({
      kind: "device",
      id: "h1:d1",
      status: "active",
      state: { online: "idle" },
      context: {
        at: "1970-01-01T00:00:00.000Z",
        bytes: "AQI=",
        buffer: "Aw==",
        big: "1180591620717411303424",
        nan: null,
      },
      revision: 3,
      version: 1,
      node: "n1",
      updatedAtMs: 1_700_000_000_000,
    });
  });

  test("pages a kind in order of ids", async () => {
    const { send, far } = await openDoor();
    for (const id of ["c", "a", "b"]) far.add("device", id, "x", {});
    const first = (await send({ url: "/api/actors/device?limit=2" })).json();
    expect(first).toMatchObject({ items: [{ id: "a" }, { id: "b" }], next: "b", truncated: false });
    expect((await send({ url: "/api/actors/device?limit=2&cursor=b" })).json()).toMatchObject({
      items: [{ id: "c" }],
      next: null,
    });
  });

  test("tells an empty kind from an unknown one, and from no node to ask", async () => {
    const { send, far } = await openDoor();
    expect((await send({ url: "/api/actors/device" })).json()).toMatchObject({ items: [] });
    const unknown = await send({ url: "/api/actors/nonsense" });
    expect([unknown.statusCode, unknown.json<{ code: string }>().code]).toEqual([404, "UNKNOWN_KIND"]);
    far.nodes = [];
    expect((await send({ url: "/api/actors/device" })).statusCode).toBe(503);
  });

  test("pages a history after a revision, and says 404 for an actor that never was", async () => {
    const { send, far } = await openDoor();
    far.histories.set(
      "device/a",
      [1, 2, 3].map((revision) => ({ revision, seq: revision, timeMs: 1, sender: "c", event: { type: "t" } })),
    );
    const answer = (await send({ url: "/api/actors/device/a/history?after=1&limit=1" })).json();
    expect(answer).toMatchObject({ items: [{ revision: 2 }], next: 2 });
    expect((await send({ url: "/api/actors/device/b/history" })).statusCode).toBe(404);
    far.add("device", "b", "x", {});
    expect((await send({ url: "/api/actors/device/b/history" })).json()).toMatchObject({ items: [], next: null });
  });
});

describe("/api/nodes", () => {
  test("passes the filter on, and shows what a silent node does not tell as null", async () => {
    const { send, far } = await openDoor();
    const unknown = { activations: null, queued: null, rounds: null, inputs: null, memoryBytes: null, refusal: null };
    const silent = { ...nodeInfo("n2"), ...unknown, startedAtMs: null, shards: null, health: null };
    far.nodes = [nodeInfo("n1"), { ...silent, state: "suspect" }];
    const url = "/api/nodes?role=WORKER&kind=task&version=0.1&state=suspect&labels=host=pi1,site=a";
    expect((await send({ url })).json()).toEqual({ items: far.nodes });
    expect(far.filters).toEqual([
      { role: "WORKER", kind: "task", version: "0.1", states: ["suspect"], labels: { host: "pi1", site: "a" } },
    ]);
    await send({ url: "/api/nodes?labels=host=pi1" });
    expect(far.filters[1]).toEqual({ labels: { host: "pi1" } });
    for (const bad of ["role=BOSS", "labels=host", "state=gone", "kind=A", "other=1"])
      expect((await send({ url: `/api/nodes?${bad}` })).statusCode).toBe(400);
  });
});

describe("/api/tasks", () => {
  test("shows one with steps, evidence, lock and reason", async () => {
    const { send, far } = await openDoor();
    far.add("task", "t1", "running", task("qa"));
    expect((await send({ url: "/api/tasks/t1" })).json()).toMatchObject({
      id: "t1",
      state: "running",
      agent: "qa",
      device: { host: "h1", device: "d1" },
      lock: { resource: "h1:d1", token: 4 },
      startedAtMs: 1_000,
      reason: null,
      steps: [STEP],
      evidence: STEP.evidence,
      event: { id: "e1" },
    });
  });

  test("lists the last changed first, with counts of steps and evidence, and says whether there is more", async () => {
    const { send, far } = await openDoor();
    for (const [id, updatedAtMs] of [
      ["a", 1],
      ["b", 3],
      ["c", 2],
    ] as const)
      far.add("task", id, "running", { ...task("qa"), steps: [STEP, { ...STEP, status: "pending" }] }, { updatedAtMs });
    const list = async (query: string) =>
      (await send({ url: `/api/tasks?${query}` })).json<{ items: { id: string }[]; next: string | null }>();
    const first = await list("limit=2");
    expect(first.items).toMatchObject([
      { id: "b", stepsTotal: 2, stepsDone: 1, evidenceCount: 1 },
      { id: "c", stepsTotal: 2, stepsDone: 1, evidenceCount: 1 },
    ]);
    expect(far.calls.filter((call) => call.startsWith("query"))).toEqual(["query task/b", "query task/c"]);
    const second = await list(`limit=2&cursor=${first.next}`);
    expect([second.items.map(({ id }) => id), second.next]).toEqual([["a"], null]);
    expect((await list("limit=3")).next).toBeNull();
  });

  test("filters by state and agent, and goes on where a page ended", async () => {
    const { send, far } = await openDoor();
    for (let n = 10; n < 90; n++)
      far.add("task", `t${n}`, n % 2 === 0 ? "running" : "succeeded", task(n < 50 ? "qa" : "ci"));
    const ids: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const from: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const page = (await send({ url: `/api/tasks?state=running&agent=qa&limit=7${from}` })).json<{
        items: { id: string }[];
        next: string | null;
      }>();
      ids.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    }
    expect(ids).toEqual(Array.from({ length: 20 }, (_, n) => `t${10 + 2 * n}`));
  });

  test("marks what cannot be read and shows the rest", async () => {
    const { send, far } = await openDoor();
    far.add("task", "a", "running", task("qa")).add("task", "b", "running", null);
    far.faults.set("query task/a", () => new DeadlineError("No answer"));
    const { items } = (await send({ url: "/api/tasks" })).json<{ items: unknown[] }>();
    expect(items[0]).toMatchObject({ id: "a", unreadable: true, error: { code: "NOT_READY" } });
    expect(items[1]).toMatchObject({ id: "b", state: "running", agent: null, lock: null });
  });
});

describe("an owner without a good lease", () => {
  const since = { stale: true, staleSinceMs: 5 } as const;
  test.each(["/api/actors/task/t1", "/api/tasks/t1", "/api/resources/t1"])("is shown as stale by %s", async (url) => {
    const { send, far } = await openDoor();
    far.add("task", "t1", "running", task("qa"), since).add("resource", "t1", "free", {}, since);
    expect((await send({ url })).json()).toMatchObject(since);
  });

  test.each(["/api/tasks", "/api/resources"])("is shown as stale in %s, and only it", async (url) => {
    const { send, far } = await openDoor();
    for (const kind of ["task", "resource"]) far.add(kind, "t1", "held", {}, since).add(kind, "t2", "held", {});
    const { items } = (await send({ url })).json<{ items: { id: string; stale?: true }[] }>();
    expect(items.map(({ id, stale }) => [id, stale])).toEqual([
      ["t1", true],
      ["t2", undefined],
    ]);
  });

  test("is asked for what it has, and no answer at all is a refusal that may be repeated", async () => {
    const { send, far } = await openDoor();
    far.faults.set("query", () => new DeadlineError("No answer"));
    for (const url of ["/api/actors/task/t1", "/api/tasks/t1", "/api/resources/t1"]) {
      const answer = await send({ url });
      expect(answer.json()).toMatchObject({ status: 503, code: "NOT_READY" });
      expect(answer.headers["retry-after"]).toBe("1");
    }
    expect(far.staleAllowed).toBe(3);
  });
});

describe("/api/resources", () => {
  test("shows the holder's token, and none while it is free", async () => {
    const { send, far } = await openDoor();
    const history = [{ token: 4, holder: "task/t1", grantedAtMs: 1, endedAtMs: null, reason: null }];
    far.add("resource", "h1:d1", "held", {
      holders: [{ holder: "task/t1", token: 4, expiresAtMs: 9 }],
      token: 4,
      queue: [{ holder: "task/t2" }],
      history,
    });
    far.add("resource", "h1:d2", "free", { holders: [], token: 7, queue: [], history });
    far.add("device", "h1:d2", "online", {}).add("resource", "h1:typo", "free", { holders: [], token: 7, queue: [] });
    const { items } = (await send({ url: "/api/resources" })).json<{ items: unknown[] }>();
    expect(items).toHaveLength(2);
    expect((await send({ url: "/api/resources/h1:typo" })).statusCode).toBe(200);
    expect(items[0]).toMatchObject({
      state: "held",
      holder: "task/t1",
      token: 4,
      expiresAtMs: 9,
      queue: [{ holder: "task/t2" }],
      history,
    });
    expect(items[1]).toMatchObject({ state: "free", holder: null, token: null, expiresAtMs: null });
    expect((await send({ url: "/api/resources/h1:d1" })).json()).toMatchObject({ holder: "task/t1", history });
  });
});

const DEFINITION = `metadata: { id: watcher, name: Watcher, version: 1.0.0 }
goal: { type: continuous, description: Watches }
triggers: { events: [{ type: alert.freeze }], event_pools: [shared.alerts] }
`;

describe("/api/agents", () => {
  const register = (payload: string, type = "application/yaml") => ({
    method: "POST" as const,
    url: "/api/agents/register",
    headers: { "content-type": type },
    payload,
  });

  test("registers once with 201, then 200, and shows the live state", async () => {
    const { send, far } = await openDoor();
    expect((await send(register(DEFINITION))).json()).toEqual({
      id: "watcher",
      version: "1.0.0",
      created: true,
      activeVersion: "1.0.0",
    });
    expect((await send(register(DEFINITION, "text/yaml; charset=utf-8"))).statusCode).toBe(200);
    expect((await send({ url: "/api/agents/watcher" })).json()).toMatchObject({
      id: "watcher",
      versions: ["1.0.0"],
      live: null,
    });
    far.add("agent", "watcher", { deployed: "idle" }, { running: [] });
    const { items } = (await send({ url: "/api/agents" })).json<{ items: unknown[] }>();
    expect(items).toMatchObject([
      { id: "watcher", live: { state: { deployed: "idle" }, context: { running: [] } }, error: null },
    ]);
    far.faults.set("query agent/watcher", () => new BusyError("Busy"));
    expect((await send({ url: "/api/agents/watcher" })).json()).toMatchObject({ live: null, error: { code: "BUSY" } });
    expect((await send({ url: "/api/agents/other" })).json()).toMatchObject({ status: 404, code: "AGENT_NOT_FOUND" });
  });

  test("names every fault with line and column, in YAML and in JSON", async () => {
    const { send, far } = await openDoor();
    const yaml = (await send(register(DEFINITION.replace("1.0.0", "one").replace("continuous", "sometimes")))).json<{
      status: number;
      errors: { line: number; column: number }[];
    }>();
    expect(yaml.status).toBe(422);
    expect(yaml.errors.map(({ line }) => line)).toEqual([1, 2]);
    const json = (await send(register('{\n "metadata": {\n  "id": "a b"}}', "application/json"))).json<{
      errors: { line: number }[];
    }>();
    expect(json.errors.some(({ line }) => line === 3)).toBe(true);
    expect(far.registered).toEqual([]);
  });

  test.each([["[".repeat(200_000)], ["{a: ".repeat(10_000)], ["a: &a [*a,*a]"], ["\u0000"], ["- ".repeat(60_000)]])(
    "refuses a hostile definition (%#)",
    async (text) => {
      const { send, far } = await openDoor();
      expect((await send(register(text))).statusCode).toBe(422);
      expect((await send(register(text, "application/json"))).statusCode).toBe(422);
      expect(far.registered).toEqual([]);
    },
  );
});
