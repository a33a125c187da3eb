/** The contract on a real nats-server. Invariant: one server for the file; every test has names and connections of its own. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "nats";
import { afterAll, beforeAll, vi } from "vitest";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { brokerContract } from "./broker.contract.ts";

/** Patience for one condition, in ms; and how often it is looked at. */
const DEADLINE_MS = 10_000;
const INTERVAL_MS = 5;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.stop();
});

brokerContract("NATS", () => {
  const brokers: Broker[] = [];
  return {
    connect: async (name) => {
      const broker = await connectBroker({ servers: server.url, name });
      brokers.push(broker);
      return broker;
    },
    addStream: async (spec) => {
      const connection = await connect({ servers: server.url });
      await (await jetstreamManager(connection)).streams.add(spec);
      await connection.close();
    },
    now: () => Date.now(),
    until: async (what, condition) => {
      await vi.waitFor(
        async () => {
          if (!(await condition())) throw new Error(`Not in time: ${what}`);
        },
        { timeout: DEADLINE_MS, interval: INTERVAL_MS },
      );
    },
    close: async () => {
      for (const broker of brokers) await broker.close();
    },
  };
});
