/** Requests to the server that get lost on the way, as in a network that parts. Invariant: what may be asked again is, well within its deadline. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, headers } from "nats";
import { afterEach, expect, test } from "vitest";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import { RequestMux } from "../../runtime/mux.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { JetStreamApi } from "../../runtime/port-nats-api.ts";
import { ServerInbox } from "../../runtime/port-nats-inbox.ts";
import { StreamReads } from "../../runtime/port-nats-reads.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { startTestServer } from "../support/nats.ts";

/** Well under the patience with the server's API, in ms. */
const SOON_MS = 5_000;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(): Promise<string> {
  const server = await startTestServer();
  cleanups.push(() => server.stop());
  return server.url;
}

test("read() asks again when the replica that was to answer is out of reach", async () => {
  const url = await startServer();
  const broker = await connectBroker({ servers: url });
  cleanups.push(() => broker.close());
  // Without direct gets of its own, so that they are answered here: the first one not at all.
  await (await jetstreamManager(broker.connection)).streams.add({ name: "S", subjects: ["s.>"], allow_direct: false });
  const replicas = await connect({ servers: url });
  cleanups.push(() => replicas.close());
  let asked = 0;
  replicas.subscribe("$JS.API.DIRECT.GET.S", {
    callback: (_, message) => {
      if (++asked > 1) message.respond("", { headers: headers(404, "Message Not Found") });
    },
  });
  await replicas.flush();
  const begunAt = performance.now();
  expect(await broker.read("S", { subject: "s.>" })).toEqual([]);
  expect(asked).toBe(2);
  expect(performance.now() - begunAt).toBeLessThan(SOON_MS);
});

test("open() attaches anew when the server that was chosen for the consumer is out of reach", async () => {
  const connection = await connect({ servers: await startServer() });
  cleanups.push(() => connection.close());
  const clock = new SimClock();
  const mux = new RequestMux(connection, clock);
  const api = new JetStreamApi(mux);
  const wire = { connection, api, reads: new StreamReads(mux, api, clock), clock, isConnected: () => true };
  const addresses: string[] = [];
  const attach = async (address: string, timeoutMs: number) => {
    addresses.push(address);
    if (addresses.length > 1) return;
    clock.advance(timeoutMs);
    throw new BrokerUnavailableError("No answer from the server that was chosen");
  };
  const inbox = new ServerInbox(wire, {
    heartbeatMs: 1_000,
    attach,
    receive: () => undefined,
    expectsHeartbeat: () => true,
  });
  await inbox.open();
  inbox.close();
  expect(new Set(addresses).size).toBe(2);
});

test("follow() goes on soon after the server that kept its place was lost, if it asked to be told often", async () => {
  const broker = await connectBroker({ servers: await startServer() });
  cleanups.push(() => broker.close());
  const manager = await jetstreamManager(broker.connection);
  await manager.streams.add({ name: "S", subjects: ["s.>"] });
  const heard = Promise.withResolvers<void>();
  await broker.follow("S", { subjects: ["s.>"], from: "new", heartbeatMs: 200 }, () => heard.resolve());
  // As it is to the reader when that server is out of reach: nobody says that the consumer is gone.
  const [consumer] = await manager.consumers.list("S").next();
  await manager.consumers.delete("S", consumer?.name ?? "");
  const begunAt = performance.now();
  await broker.append("s.a", Buffer.from("1"));
  await heard.promise;
  expect(performance.now() - begunAt).toBeLessThan(SOON_MS / 2);
});
