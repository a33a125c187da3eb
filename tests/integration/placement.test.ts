/** Where actors live on real nodes. Invariant: only on a node that hosts their kind and fits, and callers need not know where. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { assign, sendTo, setup } from "xstate";
import type { Client } from "../../runtime/api.ts";
import { ref } from "../../runtime/author.ts";
import { connect } from "../../runtime/client.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { DefinitionError, HostOfflineError, UnknownKindError } from "../../runtime/errors.ts";
import type { Placement } from "../../runtime/families.ts";
import { startCluster, type TestCluster, type TestNode, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** "At once": well before any deadline, on a loaded machine, in ms. */
const AT_ONCE_MS = 1_000;

const machine = setup({
  types: {
    context: {} as { n: number },
    events: {} as { type: "ADD" } | { type: "PASS"; to: string },
  },
}).createMachine({
  context: { n: 0 },
  on: {
    ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) },
    PASS: { actions: sendTo(({ event }) => ref("device", event.to), { type: "ADD" }) },
  },
});
const kindOf = (kind: string, placement?: Placement): ActorKind =>
  defineActor({ kind, machine, ...(placement !== undefined && { placement }) });
const shared = kindOf("shared");
const device = kindOf("device", { label: "host" });

let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());
afterEach(() => cluster.stop());

const begin = async (...nodes: Parameters<TestCluster["start"]>[]): Promise<TestNode[]> => {
  cluster = await startCluster({ server, kinds: [shared, device], nodes: 0 });
  const started: TestNode[] = [];
  for (const node of nodes) started.push(await cluster.start(...node));
  client = await connect({ servers: server.url, namespace: cluster.namespace });
  cluster.client = client;
  return started;
};
const add = (kind: string, id: string) => client.ask(kind, id, { type: "ADD" } as never);
const nodeOf = async (kind: string, id: string) => (await client.query(kind, id)).node;

test("a device's actor lives on its host's node, wherever callers ask, and is offline at once when that node is gone", async () => {
  const kinds = [shared, device];
  await begin(
    ["n1", kinds, {}],
    ["n2", kinds, { labels: { host: "pi2" } }],
    ["n3", kinds, { labels: { host: "pi3" } }],
  );
  for (const id of ["pi2:a", "pi2:b", "pi3:a"]) await add("device", id);
  expect(await nodeOf("device", "pi2:a")).toBe("n2");
  expect(await nodeOf("device", "pi2:b")).toBe("n2");
  expect(await nodeOf("device", "pi3:a")).toBe("n3");
  const n2 = cluster.nodes[1] as TestNode;
  await n2.node.stop();
  cluster.nodes.splice(1, 1);
  const before = performance.now();
  await expect(add("device", "pi2:a")).rejects.toThrow(HostOfflineError);
  await expect(client.query("device", "pi2:b")).rejects.toThrow(
    '"device/pi2:b" lives where host=pi2, and no such node',
  );
  expect(performance.now() - before).toBeLessThan(AT_ONCE_MS);
  await add("device", "pi3:a");

  // An actor's message waits for the host; nothing of it goes to the dead letters.
  await client.tell("shared", "x", { type: "PASS", to: "pi2:a" } as never);
  await cluster.start("n2", kinds, { labels: { host: "pi2" } });
  await until("the message to arrive", async () => {
    const view = await client.query("device", "pi2:a").catch((error: unknown) => {
      if (!(error instanceof HostOfflineError)) throw error;
    });
    return (view?.context as { n: number } | undefined)?.n === 2;
  });
  expect(await nodeOf("device", "pi2:a")).toBe("n2");
  expect(await client.deadLetters()).toEqual([]);
});

test("where no node has the label, actors live anywhere and fail over, until a node of their host joins", async () => {
  const kinds = [shared, device];
  const [first] = await begin(["n1", kinds, {}], ["n2", kinds, {}]);
  const ids = Array.from({ length: 30 }, (_, i) => `pi${i}:a`);
  await Promise.all(ids.map((id) => add("device", id)));
  const homes = new Set(await Promise.all(ids.map((id) => nodeOf("device", id))));
  expect(homes).toEqual(new Set(["n1", "n2"]));
  await cluster.crash(first as TestNode);
  await Promise.all(ids.map((id) => add("device", id)));
  expect(new Set(await Promise.all(ids.map((id) => nodeOf("device", id))))).toEqual(new Set(["n2"]));
  await cluster.start("n3", kinds, { labels: { host: "pi7" } });
  await until("the host's actor to come home", async () => (await nodeOf("device", "pi7:a")) === "n3");
  expect((await client.query("device", "pi7:a")).context).toEqual({ n: 2 });
});

test("kinds with a placement go only to nodes that define them, or to those of their role", async () => {
  const only = kindOf("only", {});
  const auditor = kindOf("auditor", { roles: ["MONITOR"] });
  await begin(
    ["n1", [shared, only, auditor], { roles: ["WORKER"] }],
    ["n2", [shared, auditor], { roles: ["MONITOR"] }],
    ["n3", [shared], { roles: ["WORKER"] }],
  );
  const ids = Array.from({ length: 20 }, (_, i) => `i${i}`);
  for (const kind of ["only", "auditor", "shared"]) await Promise.all(ids.map((id) => add(kind, id)));
  const homes = async (kind: string) => new Set(await Promise.all(ids.map((id) => nodeOf(kind, id))));
  expect(await homes("only")).toEqual(new Set(["n1"]));
  expect(await homes("auditor")).toEqual(new Set(["n2"]));
  expect(await homes("shared")).toEqual(new Set(["n1", "n3"]));
  expect((await client.nodes()).map(({ name, kinds, roles }) => [name, kinds, roles])).toEqual([
    ["n1", ["shared", "only"], ["WORKER"]],
    ["n2", ["auditor"], ["MONITOR"]],
    ["n3", ["shared"], ["WORKER"]],
  ]);
  await expect(add("never", "x")).rejects.toThrow(UnknownKindError);
});

test("a node that knows fewer of the shared kinds takes none of their shards, and keeps nobody down when the others die", async () => {
  const more = kindOf("more");
  const [full] = await begin(["n1", [shared, more]], ["n2", [shared]]);
  const ids = Array.from({ length: 20 }, (_, i) => `i${i}`);
  await Promise.all(ids.flatMap((id) => [add("more", id), add("shared", id)]));
  expect(new Set(await Promise.all(ids.map((id) => nodeOf("more", id))))).toEqual(new Set(["n1"]));
  await cluster.crash(full as TestNode);
  await Promise.all(ids.map((id) => add("shared", id)));
  expect(await nodeOf("shared", "i1")).toBe("n2");
  await expect(add("more", "i1")).rejects.toThrow(UnknownKindError);
  // Nothing was lost: what could not be rebuilt waited in the journal.
  await cluster.start("n3", [shared, more]);
  await until("its actors to be back", async () => (await nodeOf("shared", "i1")) === "n3");
  await Promise.all(ids.map((id) => add("more", id)));
  expect((await client.query("more", "i1")).context).toEqual({ n: 2 });
});

test("a node of twice the weight gets about twice the shards", async () => {
  const [light, heavy] = await begin(["n1", [shared]], ["n2", [shared], { weight: 3 }]);
  await until("the shards to be shared", () => (light as TestNode).node.ownedShards().length < 32);
  expect((heavy as TestNode).node.ownedShards().length).toBeGreaterThan(36);
});

test("a placement is fixed for the life of a cluster", async () => {
  await begin(["n1", [shared, device]]);
  await expect(cluster.start("n2", [shared, kindOf("device")])).rejects.toThrow(DefinitionError);
  expect(() => kindOf("x", { label: "a b" })).toThrow(DefinitionError);
  expect(() => kindOf("x", { roles: [] })).toThrow(DefinitionError);
});
