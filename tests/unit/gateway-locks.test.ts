/** Locks over HTTP: commands, refusals, reservations by tags, and how resources were used. */
import { describe, expect, test } from "vitest";
import { DeadlineError, HostOfflineError } from "../../runtime/errors.ts";
import { openDoor } from "../support/gateway.ts";

const post = (url: string, payload: object = {}) => ({ method: "POST", url, payload }) as const;
const acquire = { holder: "client/me", priority: "high", ttlMs: 60_000 };

describe("POST /api/resources/:id/:command", () => {
  test("passes a command on to the lock and shows its answer", async () => {
    const { send, far } = await openDoor();
    far.add("device", "h1:d1", "online", {});
    far.replies.set("resource/h1:d1", { ok: true, state: "granted", token: 7, expiresAtMs: 9 });
    const answer = await send(post("/api/resources/h1:d1/acquire", acquire));
    expect(answer.json()).toEqual({ ok: true, state: "granted", token: 7, expiresAtMs: 9 });
    expect(far.asked).toEqual([{ to: "resource/h1:d1", event: { ...acquire, type: "acquire" } }]);
  });

  test("reaches a lock whose device is gone with its host", async () => {
    const { send, far } = await openDoor();
    far.add("resource", "h1:d1", "held", {});
    far.faults.set("query device/h1:d1", () => new HostOfflineError("No node of host=h1 is up"));
    const answer = await send(post("/api/resources/h1:d1/release", { holder: "client/me", token: 1 }));
    expect(answer.statusCode).toBe(200);
    expect((await send(post("/api/reservations", { ...acquire, resources: ["h1:d1"] }))).statusCode).toBe(201);
  });

  test("answers 404 for a resource that nobody heard of, and asks nothing", async () => {
    const { send, far } = await openDoor();
    const answer = await send(post("/api/resources/h1:typo/acquire", acquire));
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([404, "UNKNOWN_RESOURCE"]);
    expect(far.asked).toEqual([]);
    expect((await send(post("/api/resources/server/configure", { by: "client/ops", capacity: 3 }))).statusCode).toBe(
      200,
    );
  });

  test.each([
    ["STALE_TOKEN", 409],
    ["NOT_HOLDER", 409],
    ["NOT_WAITING", 409],
    ["DEADLOCK", 409],
    ["QUEUE_FULL", 503],
    ["BAD_REQUEST", 400],
  ])("shows the lock's refusal %s as %i with what it says", async (code, status) => {
    const { send, far } = await openDoor();
    far.add("resource", "h1:d1", "free", {});
    far.replies.set("resource/h1:d1", { ok: false, code, message: "What, where, and the way out" });
    const answer = await send(post("/api/resources/h1:d1/release", { token: 1 }));
    expect([answer.statusCode, answer.json()]).toMatchObject([
      status,
      { code, detail: "What, where, and the way out" },
    ]);
  });

  test("answers that nothing was done when nobody says whether the resource is known", async () => {
    const { send, far } = await openDoor();
    far.faults.set("query", () => new DeadlineError("No answer"));
    const answer = await send(post("/api/resources/h1:d1/acquire", acquire));
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([503, "NOT_READY"]);
    expect(far.asked).toEqual([]);
  });

  test.each([
    ["explode", {}],
    ["acquire", { ...acquire, device: "h1:d1" }],
    ["acquire", { ...acquire, ttlMs: "soon" }],
  ])("refuses %s %j before anything is asked", async (command, payload) => {
    const { send, far } = await openDoor();
    far.add("resource", "h1:d1", "free", {});
    expect((await send(post(`/api/resources/h1:d1/${command}`, payload))).statusCode).toBe(400);
    expect(far.asked).toEqual([]);
  });
});

describe("/api/reservations", () => {
  test.each([{ ttlMs: 0 }, { priority: "urgent" }, { holder: "me" }, { resources: [] }])(
    "refuses %j before anything is asked, so that no empty reservation is left",
    async (patch) => {
      const { send, far } = await openDoor();
      far.add("device", "h1:d1", "online", {});
      const answer = await send(post("/api/reservations", { ...acquire, resources: ["h1:d1"], ...patch }));
      expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, "BAD_REQUEST"]);
      expect(far.asked).toEqual([]);
    },
  );

  test("reserves any online device with the tags", async () => {
    const { send, far } = await openDoor();
    const device = (id: string, value: string, model: string) =>
      far.add("device", id, value, { host: id.split(":")[0], model });
    device("pi1:d1", "online", "android_tv");
    device("pi1:d2", "online", "stb");
    device("pi1:d3", "offline", "android_tv");
    device("pi2:d1", "online", "android_tv");
    const where = { host: "pi1", model: "android_tv" };
    const answer = await send(post("/api/reservations", { ...acquire, where }));
    expect(answer.statusCode).toBe(201);
    expect(far.asked).toMatchObject([{ event: { type: "reserve", mode: "any", resources: ["pi1:d1"] } }]);
    const none = await send(post("/api/reservations", { ...acquire, where: { model: "phone" } }));
    expect([none.statusCode, none.json<{ code: string }>().code]).toEqual([404, "UNKNOWN_RESOURCE"]);
  });

  test("reserves all that are named, if all are known, and shows who has what", async () => {
    const { send, far } = await openDoor();
    far.add("device", "pi1:d1", "online", {});
    expect((await send(post("/api/reservations", { ...acquire, resources: ["pi1:d1", "pi1:x"] }))).statusCode).toBe(
      404,
    );
    expect((await send(post("/api/reservations", { ...acquire, resources: ["pi1:d1"] }))).statusCode).toBe(201);
    expect(far.asked).toMatchObject([{ event: { mode: "all", resources: ["pi1:d1"] } }]);
    far.add("reservation", "r1", "held", {
      owner: "client/me",
      locks: [{ resource: "pi1:d1", token: 3 }],
      resources: ["pi1:d1"],
      reason: null,
    });
    expect((await send({ url: "/api/reservations/r1" })).json()).toMatchObject({
      state: "held",
      locks: [{ token: 3 }],
    });
    expect((await send(post("/api/reservations/r1/release", { holder: "client/me" }))).statusCode).toBe(200);
    expect((await send(post("/api/reservations/r2/release", { holder: "client/me" }))).statusCode).toBe(404);
  });
});

describe("occupancy", () => {
  const grant = (token: number, grantedAtMs: number, endedAtMs: number | null, waitedMs: number) => ({
    ...{ token, holder: `task/${token}`, waitedMs, grantedAtMs, endedAtMs },
    ...{ reason: endedAtMs === null ? null : "released", confirmed: null, by: null, why: null },
  });

  test("puts the most contended first, with its longest wait, and shows one's timeline", async () => {
    const { send, far } = await openDoor();
    const [t0, context] = [1_000_000, { capacity: 1, queue: [] }];
    far.add("resource", "a", "free", { ...context, history: [grant(1, t0, t0 + 10, 5)] });
    far.add("resource", "b", "free", {
      ...context,
      history: [grant(1, t0, t0 + 100, 0), grant(2, t0 + 100, t0 + 400, 90)],
    });
    far.add("resource", "c", "free", { ...context, history: [] });
    const { items } = (await send({ url: "/api/contention" })).json<{ items: unknown[] }>();
    expect(items).toMatchObject([
      { resource: "b", grants: 2, waitedMs: 90, longestWaitMs: 90, longestHoldMs: 300 },
      { resource: "a", longestWaitMs: 5 },
      { resource: "c", busy: null, longestWaitMs: null },
    ]);
    expect((await send({ url: "/api/resources/b/occupancy" })).json()).toMatchObject({
      timeline: [
        { holder: "task/1", heldMs: 100, reason: "released" },
        { holder: "task/2", heldMs: 300 },
      ],
    });
    expect((await send({ url: "/api/resources/x/occupancy" })).statusCode).toBe(404);
  });
});
