/** Finding nodes by what they are. Invariant: who answers is listed with figures of his own; what is not known is null; the dead are gone. */
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import pino from "pino";
import { createMachine } from "xstate";
import type { Client, Node, NodeFilter, NodeInfo } from "../../runtime/api.ts";
import { connect } from "../../runtime/client.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { systemClock as clock } from "../../runtime/clock.ts";
import { NoResponderError } from "../../runtime/errors.ts";
import { startNodeOn } from "../../runtime/node.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startCluster, type TestCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** A dead node is listed no longer than this, in ms: what discovery promises. */
const GONE_MS = 3_000;

const machine = createMachine({ on: { go: {} } });
const [thing, audit] = [
  defineActor({ kind: "thing", machine }),
  defineActor({ kind: "audit", machine, placement: { roles: ["MONITOR"] } }),
];

let server: TestServer;
let cluster: TestCluster;
let client: Client;
const namesOf = async (filter?: NodeFilter) => (await client.nodes(filter)).map(({ name }) => name);
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [thing, audit], nodes: 0 });
  await cluster.start("n1", [thing], { roles: ["WORKER"], labels: { host: "pi1", site: "a" } });
  await cluster.start("n2", [thing], { roles: ["WORKER"], labels: { host: "pi2", site: "a" }, weight: 2 });
  await cluster.start("n3", [thing, audit], { roles: ["MONITOR"] });
  client = await connect({ servers: server.url, namespace: cluster.namespace });
  cluster.client = client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

test("nodes() finds them by label, role, kind, version and state, all that is given", async () => {
  expect(await namesOf()).toEqual(["n1", "n2", "n3"]);
  expect(await namesOf({ labels: { site: "a" } })).toEqual(["n1", "n2"]);
  expect(await namesOf({ labels: { site: "a", host: "pi2" } })).toEqual(["n2"]);
  expect(await namesOf({ role: "MONITOR" })).toEqual(["n3"]);
  expect(await namesOf({ kind: "audit" })).toEqual(["n3"]);
  expect(await namesOf({ kind: "thing", labels: { host: "pi9" } })).toEqual([]);
  const version = (cluster.nodes[0] as TestNode).node.info().version;
  expect(await namesOf({ version })).toEqual(["n1", "n2", "n3"]);
  expect(await namesOf({ version: version.split(".")[0] as string })).toHaveLength(3);
  expect(await namesOf({ version: "99" })).toEqual([]);
  expect(await namesOf({ states: ["suspect", "dead"] })).toEqual([]);
});

test("nodes() shows health with the time of its measurement, and null before there is one", async () => {
  const late = await cluster.start("n4", [thing], { roles: ["WORKER"] });
  expect(late.node.info().health).toBe(null);
  const health = await until("a measurement", async () => {
    const [node] = await client.nodes({ labels: { host: "pi1" } });
    return node?.health ?? undefined;
  });
  expect(Math.abs(Date.now() - health.measuredAtMs)).toBeLessThan(5_000);
  expect(health.errorRate).toBe(null);
  expect(health.cpu).toBeGreaterThanOrEqual(0);
  await late.node.stop();
  cluster.nodes.pop();
});

test("a node that does not answer is suspect, and nothing is made up for it; one that nobody speaks for is dead", async () => {
  const { broker, names } = client;
  const [facts] = await client.nodes({ labels: { host: "pi1" } });
  const record = (name: string) => Buffer.from(JSON.stringify({ ...facts, name, incarnation: "1", kinds: ["none"] }));
  const mute = broker.subscribe(names.node("mute"), () => undefined);
  for (const name of ["mute", "ghost"])
    await broker.append(names.kv.nodes.key(`${name}.1`), record(name), { ttlS: 60 });
  try {
    expect(await client.nodes({ kind: "none" })).toMatchObject([
      { name: "mute", state: "suspect", shards: null, activations: null, memoryBytes: null, health: null },
    ]);
    expect(await client.nodes({ states: ["dead"] })).toMatchObject([{ name: "ghost", state: "dead", health: null }]);
  } finally {
    mute.unsubscribe();
    for (const name of ["mute", "ghost"])
      await broker.append(names.kv.nodes.key(`${name}.1`), new Uint8Array(0), { headers: { "KV-Operation": "DEL" } });
  }
});

test("startNode() refuses a name whose process lives, and takes over that of a killed one", async () => {
  const former = await cluster.start("n5", [thing]);
  await expect(cluster.start("n5", [thing])).rejects.toThrow(`"n5" is another live process's (pid ${process.pid} on`);
  expect(await client.nodes({ states: ["alive"] })).toHaveLength(4);
  await cluster.crash(former);
  const next = await cluster.start("n5", [thing]);
  const records = await client.nodes({ states: ["alive", "suspect", "dead"] });
  expect(records.filter(({ name }) => name === "n5")).toMatchObject([{ incarnation: next.node.incarnation }]);
  await next.node.stop();
  cluster.nodes.pop();
});

/** By a twin's warnings: what it waits for before it looks who is there. */
const looks = new Map<string[], Promise<void>>();

/** A node "twin"; `isBlind`: the other one's answers do not reach it. */
async function startTwin(isBlind: boolean, warnings: string[]): Promise<Node> {
  const broker = await connectBroker({
    servers: server.url,
    name: `twin-${clock.randomId(6)}`,
    clock,
    waitMs: 1_000,
  });
  const request = broker.request.bind(broker);
  broker.request = async (...args) => {
    if (isBlind && args[0] === client.names.node("twin")) throw new NoResponderError(args[0]);
    return await request(...args);
  };
  const readLast = broker.readLast.bind(broker);
  broker.readLast = async (...args) => {
    if (args[0] === client.names.kv.nodes.stream) await looks.get(warnings);
    return await readLast(...args);
  };
  const log = pino({ level: "warn" }, { write: (line: string) => void warnings.push(line) });
  return await startNodeOn(broker, { name: "twin", namespace: cluster.namespace, kinds: [thing], log });
}

const twins = async () =>
  (await client.nodes({ states: ["alive", "suspect", "dead"] })).filter(({ name }) => name === "twin");

test("two live processes under one name that did not see each other are both listed as they are, and each warns", async () => {
  const [first, second]: [string[], string[]] = [[], []];
  const nodes = [await startTwin(true, first), await startTwin(true, second)] as const;
  await until("both to warn", () =>
    [first, second].every((lines) => lines.some((line) => line.includes("another name"))),
  );
  const byIncarnation = (a: { incarnation: string }, b: { incarnation: string }) =>
    a.incarnation < b.incarnation ? -1 : 1;
  await until("both to be listed with their own shards", async () => {
    const own = nodes.map((node) => node.info()).sort(byIncarnation);
    const listed = (await twins()).sort(byIncarnation);
    const shown = ({ incarnation, state, shards }: NodeInfo) => ({ incarnation, state, shards });
    return isDeepStrictEqual(listed.map(shown), own.map(shown));
  });
  for (const node of nodes) await node.stop();
});

test("a process whose name was taken while it was out of reach stays out until the other one leaves, and says so", async () => {
  const said: string[] = [];
  const former = await startTwin(false, said);
  const next = await startTwin(true, []);
  await until("it to be refused", () => said.some((line) => line.includes("NAME_TAKEN")));
  const look = Promise.withResolvers<void>();
  looks.set(said, look.promise);
  const refused = former.incarnation;
  await until("it to begin to look again", () => former.incarnation !== refused);
  for (let asked = 0; asked < 20; asked++)
    expect(await twins()).toMatchObject([{ incarnation: next.incarnation, state: "alive" }]);
  look.resolve();
  await next.stop();
  await until("it to join", async () => (await twins()).some(({ incarnation }) => incarnation === former.incarnation));
  await former.stop();
});

test("a record that nobody renews and that would never end draws shards for no longer than a dead node", async () => {
  const { broker, names } = client;
  const [facts] = await client.nodes({ labels: { host: "pi1" } });
  const subject = names.kv.nodes.key("stray.1");
  await broker.append(subject, Buffer.from(JSON.stringify({ ...facts, name: "stray", incarnation: "1", weight: 9 })));
  const isGone = async () => (await broker.getLast(names.kv.nodes.stream, subject))?.data.length === 0;
  await until("it to be evicted", isGone, GONE_MS);
  const owned = () => cluster.nodes.reduce((sum, { node }) => sum + node.ownedShards().length, 0);
  // The kind "audit" has as many shards of its own.
  await until("all shards to be served again", () => owned() === 2 * client.shards, GONE_MS);
  expect(await namesOf()).toEqual(["n1", "n2", "n3"]);
});

test("a killed node is gone from discovery within 3 s, by every filter", async () => {
  const before = performance.now();
  await cluster.crash(cluster.nodes[1] as TestNode);
  await until("it to be gone", async () => !(await namesOf()).includes("n2"), GONE_MS);
  expect(await namesOf({ labels: { host: "pi2" } })).toEqual([]);
  await until("its record to be gone", async () => (await namesOf({ states: ["dead"] })).length === 0, GONE_MS);
  expect(performance.now() - before).toBeLessThan(GONE_MS);
});

test("explainPlacement() shows shard, owner, epoch and checkpoint, and why each node fits or not", async () => {
  await client.tell("audit", "x", { type: "go" } as never);
  const report = await client.explainPlacement("audit", "x");
  const n3 = (cluster.nodes.at(-1) as TestNode).node;
  expect(report).toMatchObject({ owner: `n3.${n3.incarnation}`, wanted: `n3.${n3.incarnation}`, epoch: 1 });
  expect(report.shard).toBe(`audit=${report.door}`);
  expect(report.checkpoint).toBeGreaterThanOrEqual(0);
  expect(report.candidates.map(({ name, state, unfit }) => [name, state, unfit])).toEqual([
    ["n3", "alive", null],
    ["n1", "alive", 'does not define "audit", or not for its roles'],
  ]);
  const shared = await client.explainPlacement("thing", "x");
  expect(shared.shard).toBe(shared.door);
  expect(shared.candidates.map(({ name, unfit }) => [name, unfit])).toEqual([
    ["n1", null],
    ["n3", "hosts 0 of the shared kinds, others 1"],
  ]);
  await expect(client.explainPlacement("never", "x")).rejects.toThrow('"never": known there are audit, thing');
});
