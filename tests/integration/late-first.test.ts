/**
 * A pump that was frozen with a message in its hands, while others carried thousands past it. Invariant: what it then brings for
 * the first time takes effect, or is refused so that it comes again; never is it acknowledged and gone.
 */
import { afterAll, beforeAll, test } from "vitest";
import { startPump } from "../../actors/pump.ts";
import { numbered, PUMP_WINDOW } from "../../actors/pump-sender.ts";
import { routerKind } from "../../actors/router.ts";
import type { Client } from "../../runtime/api.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Delivery } from "../../runtime/port.ts";
import { startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

/** Bounds one attempt of a late call, in ms. */
const DEADLINE_MS = 500;
/** Thousands of messages one by one take a busy machine this long, in ms. */
const SLOW_MS = 25_000;
/** Both waits, in ms. */
const TEST_MS = 60_000;

let server: TestServer;
let cluster: TestCluster;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await startCluster({ server, kinds: [routerKind] });
  client = cluster.client;
});
afterAll(async () => {
  await cluster.stop();
  await server.stop();
});

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const eventOf = (delivery: Pick<Delivery, "seq">) => ({
  id: String(delivery.seq),
  source: "test",
  type: "x.y",
  timeMs: 0,
  priority: "normal" as const,
  data: null,
  device: null,
});

test(
  "a first delivery that is far behind the newest is not lost",
  async () => {
    const { names, broker } = client;
    const held = Promise.withResolvers<void>();
    const route = (delivery: Delivery) =>
      client.ask(
        routerKind,
        "late",
        { type: "route", event: eventOf(delivery) },
        { deadlineMs: DEADLINE_MS, ...numbered("pool", delivery) },
      );
    const count = PUMP_WINDOW + 100;
    const pump = await startPump(
      { broker, names, clock: systemClock, log: silent },
      {
        name: "late",
        stream: names.stream.pool,
        durable: "late",
        subjects: [names.poolAll],
        handle: async (delivery) => {
          if (delivery.seq === 1 && delivery.attempt === 1) await held.promise;
          await route(delivery);
        },
      },
    );
    for (let i = 0; i < count; i++) await broker.append(names.pool("late", "normal", "x.y"), Buffer.from("{}"));
    const routed = async () =>
      ((await client.query(routerKind, "late")).context as { routed: number; unhandled: number }).unhandled;
    await until("all but the first to be routed", async () => (await routed()) === count - 1, SLOW_MS);
    held.resolve();
    await until("the first to be routed too", async () => (await routed()) === count, SLOW_MS);
    await pump.stop();
  },
  TEST_MS,
);
