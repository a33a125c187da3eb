/** Locks, reservations and the wait-for graph on a node: what two and five clients can do to each other. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { reservationKind } from "../../actors/reservation.ts";
import { leaseWriter } from "../../actors/lease-store.ts";
import { resourceActor } from "../../actors/resource.ts";
import type { ResourceContext } from "../../actors/resource-state.ts";
import { waitGraphKind } from "../../actors/wait-graph.ts";
import { applyStreams } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Node } from "../../runtime/api.ts";
import { startNode } from "../../runtime/node.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const names = makeNames();
const TTL_MS = 60_000;
const FOUND_MS = 1_000;

let server: TestServer;
let broker: Awaited<ReturnType<typeof connectBroker>>;
let node: Node;

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
  await applyStreams(broker.connection, streamSpecs(names));
  const kinds = [resourceActor({ writeLease: leaseWriter({ broker, names }) }), reservationKind, waitGraphKind];
  node = await startNode({ name: "n1", servers: server.url, kinds, verifyDeterminism: true });
});
afterAll(async () => {
  await node?.stop();
  await broker?.close();
  await server?.stop();
});

const ask = (kind: string, id: string, event: { type: string; [field: string]: unknown }) =>
  node.client.ask(kind, id, event);
const acquire = (resource: string, holder: string) =>
  ask("resource", resource, { type: "acquire", priority: "normal", ttlMs: TTL_MS, holder });
const lockOf = async (id: string) => (await node.client.query("resource", id)).context as ResourceContext;

test.each([2, 5])("a deadlock of %i is found and broken within a second", async (n) => {
  const id = (i: number) => `ring${n}:d${i % n}`;
  for (let i = 0; i < n; i++) await acquire(id(i), `client/c${i}`);
  for (let i = 0; i < n; i++) await acquire(id(i + 1), `client/c${i}`);
  const closedAt = performance.now();
  await vi.waitFor(
    async () => {
      const lines = await Promise.all(Array.from({ length: n }, async (_, i) => (await lockOf(id(i))).queue.length));
      expect(lines.reduce((sum, length) => sum + length, 0)).toBe(n - 1);
    },
    { timeout: FOUND_MS, interval: 5 },
  );
  console.log(JSON.stringify({ test: "deadlock", of: n, brokenAfterMs: Math.round(performance.now() - closedAt) }));
  // The youngest was refused: the last that came.
  expect((await lockOf(id(n))).queue).toEqual([]);
});

test("reservations of overlapping sets are all granted, whole, whoever comes first", async () => {
  const sets = [
    ["s:a", "s:b", "s:c"],
    ["s:c", "s:b", "s:a"],
    ["s:b", "s:a"],
    ["s:c", "s:a"],
    ["s:b", "s:c"],
  ];
  const owner = (i: number) => `client/o${i}`;
  const reserve = { type: "reserve", mode: "all", priority: "normal", ttlMs: TTL_MS };
  await Promise.all(
    sets.map((resources, i) => ask("reservation", `r${i}`, { ...reserve, resources, holder: owner(i) })),
  );
  const served = new Set<number>();
  await vi.waitFor(
    async () => {
      for (const [i, resources] of sets.entries()) {
        const { value, context } = await node.client.query("reservation", `r${i}`);
        if (value !== "held") continue;
        served.add(i);
        expect((context as { locks: unknown[] }).locks).toHaveLength(resources.length);
        for (const id of resources) expect((await lockOf(id)).holders).toMatchObject([{ holder: `reservation/r${i}` }]);
        await ask("reservation", `r${i}`, { type: "release", holder: owner(i) });
      }
      expect(served.size).toBe(sets.length);
    },
    { timeout: 10_000, interval: 5 },
  );
  await vi.waitFor(async () => expect((await lockOf("s:a")).holders).toEqual([]));
});

test("any one of equals is the first that is free, and the others are left alone", async () => {
  await acquire("e:d1", "client/x");
  const reserve = { type: "reserve", mode: "any", priority: "normal", ttlMs: TTL_MS, holder: "client/y" };
  await ask("reservation", "any", { ...reserve, resources: ["e:d1", "e:d2", "e:d3"] });
  await vi.waitFor(async () => {
    const { value, context } = await node.client.query("reservation", "any");
    expect(value).toBe("held");
    const [lock, ...more] = (context as { locks: { resource: string }[] }).locks;
    expect(more).toEqual([]);
    const free = ["e:d2", "e:d3"].filter((id) => id !== lock?.resource);
    for (const id of free) expect(await lockOf(id)).toMatchObject({ holders: [], queue: [] });
    expect(await lockOf("e:d1")).toMatchObject({ holders: [{ holder: "client/x" }], queue: [] });
  });
  expect(await ask("reservation", "any", { type: "release", holder: "client/x" })).toMatchObject({
    code: "NOT_HOLDER",
  });
});

const RESERVE = { type: "reserve", mode: "all", priority: "normal", ttlMs: TTL_MS, holder: "client/z" };

test("an owner that falls silent loses all", async () => {
  const reserve = { ...RESERVE, ttlMs: 500 };
  await ask("reservation", "silent", { ...reserve, resources: ["z:a", "z:b"] });
  await vi.waitFor(async () => expect((await node.client.query("reservation", "silent")).value).toBe("held"));
  await vi.waitFor(async () => {
    expect(await lockOf("z:a")).toMatchObject({ holders: [], token: 1 });
    expect(await lockOf("z:b")).toMatchObject({ holders: [], token: 1 });
  });
  expect(await node.client.deadLetters()).toEqual([]);
});

test("a reservation that has ended, or is none yet, refuses its commands with the reason, and a second making", async () => {
  const reserve = { ...RESERVE, resources: ["y"] };
  const own = (type: string) => ask("reservation", "over", { type, holder: "client/z" });
  const refused = (code: string, message: string) => ({ ok: false, code, message: expect.stringContaining(message) });
  expect(await own("renew")).toEqual(refused("STALE_TOKEN", "never made"));
  expect(await ask("reservation", "over", reserve)).toMatchObject({ ok: true });
  expect(await ask("reservation", "over", reserve)).toEqual(refused("BAD_REQUEST", 'is made, by "client/z"'));
  expect(await own("release")).toMatchObject({ ok: true });
  for (const type of ["release", "renew"])
    expect(await own(type)).toEqual(refused("STALE_TOKEN", "holds nothing (released)"));
});

test("a reservation that names nothing, or no time, is refused with what and why", async () => {
  const reserve = { ...RESERVE, resources: ["a"] };
  for (const [patch, message] of [
    [{ resources: [] }, "1 to 64 resources"],
    [{ resources: ["a b"] }, "not valid"],
    [{ ttlMs: 0 }, "whole number"],
    [{ priority: "urgent" }, "not known"],
    [{ mode: "some" }, "use all or any"],
    [{ holder: "me" }, "needs its owner"],
  ] as const)
    expect(await ask("reservation", "bad", { ...reserve, ...patch })).toMatchObject({
      ...{ ok: false, code: "BAD_REQUEST" },
      message: expect.stringContaining(message) as string,
    });
});
