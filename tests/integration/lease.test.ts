/** The lease of a lock in KV: what a host reads, whoever wrote it in whatever order. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Lease, leaseKey } from "../../actors/lease.ts";
import { leaseWriter, readLease } from "../../actors/lease-store.ts";
import { resourceActor } from "../../actors/resource.ts";
import { applyStreams } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Node } from "../../runtime/api.ts";
import { startNode } from "../../runtime/node.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const names = makeNames();
const RESOURCE = "h1:d1";
const forever = new AbortController().signal;

let server: TestServer;
let broker: Awaited<ReturnType<typeof connectBroker>>;
let node: Node;

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
  await applyStreams(broker.connection, streamSpecs(names));
  const kinds = [resourceActor({ writeLease: leaseWriter({ broker, names }) })];
  node = await startNode({ name: "n1", servers: server.url, kinds, verifyDeterminism: true });
});
afterAll(async () => {
  await node?.stop();
  await broker?.close();
  await server?.stop();
});

const lease = (version: number): Lease => ({ resource: "w", version, token: version, grants: [] });

test("leaseWriter() never replaces a newer lease, whatever it believes of the entry", async () => {
  const write = leaseWriter({ broker, names });
  const first = await write({ lease: lease(2), seq: null }, forever);
  expect(await readLease({ broker, names }, "w")).toMatchObject({ version: 2 });
  for (const seq of [null, 0, first])
    for (const version of [1, 2])
      await write({ lease: lease(version), seq: version === 1 && seq === first ? null : seq }, forever);
  expect(await readLease({ broker, names }, "w")).toMatchObject({ version: 2 });
  await write({ lease: lease(4), seq: first }, forever);
  await write({ lease: lease(3), seq: first }, forever);
  expect(await readLease({ broker, names }, "w")).toMatchObject({ version: 4 });
});

test("a lock shows its holder, token and expiry under a key that every KV client can read, and takes it back", async () => {
  const acquire = { type: "acquire", priority: "normal", ttlMs: 60_000, holder: "client/a" };
  const granted = await node.client.ask("resource", RESOURCE, acquire);
  const { expiresAtMs } = granted as { expiresAtMs: number };
  await vi.waitFor(async () => {
    const shown = await readLease({ broker, names }, RESOURCE);
    expect(shown).toEqual({
      ...{ resource: RESOURCE, version: 1, token: 1 },
      grants: [{ token: 1, holder: "client/a", expiresAtMs }],
    });
  });
  expect(leaseKey(RESOURCE)).toMatch(/^[-/_=.a-zA-Z0-9]+$/);
  const release = { type: "release", token: 1, holder: "client/a" };
  await node.client.ask("resource", RESOURCE, release);
  await vi.waitFor(async () => {
    expect(await readLease({ broker, names }, RESOURCE)).toMatchObject({ version: 2, token: 1, grants: [] });
  });
});
