/** Devices of hosts that run nodes of their own. Invariant: a device's actor lives on its host's node and hears of its presence there. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ComposedNode, composeNode } from "../../gateway/compose-node.ts";
import type { Client } from "../../runtime/api.ts";
import { connect } from "../../runtime/client.ts";
import { ActorNotFoundError, HostOfflineError } from "../../runtime/errors.ts";
import { until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

let server: TestServer;
let client: Client;
const nodes: ComposedNode[] = [];
const start = async (name: string, host?: string): Promise<ComposedNode> => {
  const node = await composeNode({ name, servers: [server.url], ...(host !== undefined && { labels: { host } }) });
  nodes.push(node);
  return node;
};
beforeAll(async () => {
  server = await startTestServer();
  await start("n0");
  await start("n1", "pi1");
  await start("n2", "pi2");
  client = await connect({ servers: server.url });
});
afterAll(async () => {
  await client.close();
  for (const node of nodes) await node.stop();
  await server.stop();
});

const beat = (host: string, device: string): void => {
  const facts = { host_name: host, device_id: device, name: "TV", model: "tv" };
  client.broker.publish(client.names.deviceHeartbeat(host, device), Buffer.from(JSON.stringify(facts)));
};
const homeOf = async (id: string): Promise<string | undefined> => {
  try {
    const view = await client.query("device", id);
    return view.value === "online" ? view.node : undefined;
  } catch (error) {
    if (error instanceof ActorNotFoundError) return undefined; // its first heartbeat is under way
    throw error;
  }
};

test("a device comes online on the node of its host; one whose host has no node does so on any", async () => {
  beat("pi1", "tv");
  beat("pi2", "tv");
  beat("pi3", "tv");
  expect(await until("pi1:tv to be online", () => homeOf("pi1:tv"))).toBe("n1");
  expect(await until("pi2:tv to be online", () => homeOf("pi2:tv"))).toBe("n2");
  await until("pi3:tv to be online", () => homeOf("pi3:tv"));
});

test("when the host's node is gone its device is offline to callers at once, and back with the node", async () => {
  const [leaving] = nodes.splice(2, 1);
  await leaving?.stop();
  await expect(client.query("device", "pi2:tv")).rejects.toThrow(HostOfflineError);
  await start("n2", "pi2");
  await until("pi2:tv to be back", async () => (await client.query("device", "pi2:tv")).node === "n2");
});
