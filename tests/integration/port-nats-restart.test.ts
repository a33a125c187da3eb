/** The broker port across the death of its server. Invariant: what was acknowledged before and after is seen, once a follower, in order. */
import { jetstreamManager } from "@nats-io/jetstream";
import { afterEach, expect, test, vi } from "vitest";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer } from "../support/nats.ts";

const DEADLINE_MS = 20_000;
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(what: string, condition: () => boolean): Promise<void> {
  const look = () => {
    if (!condition()) throw new Error(`Not in time: ${what}`);
  };
  await vi.waitFor(look, { timeout: DEADLINE_MS, interval: 10 });
}

async function start() {
  const server = await startTestServer();
  cleanups.push(() => server.stop());
  const broker = await connectBroker({ servers: server.url });
  cleanups.push(() => broker.close());
  const streams = (await jetstreamManager(broker.connection)).streams;
  await streams.add({ name: "S", subjects: ["s.>"], allow_direct: true });
  const append = (value: number) => broker.append("s.a", Buffer.from(String(value)), { timeoutMs: 500 });
  const appendUntilStored = (value: number) => vi.waitFor(() => append(value), { timeout: DEADLINE_MS, interval: 20 });
  return { server, broker, append, appendUntilStored };
}

test("append() fails with BrokerUnavailableError in an outage; follow() and consume() go on after it without loss", async () => {
  const { server, broker, append, appendUntilStored } = await start();
  const numberOf = ({ data }: { readonly data: Uint8Array }) => Number(Buffer.from(data).toString());
  const all: number[] = [];
  const fresh: number[] = [];
  const consumed = new Set<number>();
  await append(1);
  await append(2);
  await broker.follow("S", { subjects: ["s.>"], from: "all" }, (message) => all.push(numberOf(message)));
  await broker.follow("S", { subjects: ["s.>"], from: "new" }, (message) => fresh.push(numberOf(message)));
  const options = { durable: "d", subjects: ["s.>"], maxInFlight: 4, ackWaitMs: 1_000 };
  await broker.consume("S", options, (delivery) => {
    // The first attempt at 2 is never acknowledged: it must come again, though the server dies meanwhile.
    if (numberOf(delivery) === 2 && delivery.attempt === 1) return;
    consumed.add(numberOf(delivery));
    delivery.ack();
  });
  await until("both were seen", () => all.length === 2 && consumed.has(1));

  process.kill(server.embedded.pid, "SIGSTOP");
  await expect(append(-1)).rejects.toThrow(BrokerUnavailableError);
  process.kill(server.embedded.pid, "SIGKILL");
  const calls = [broker.getLast("S", "s.a"), broker.read("S", { subject: "s.>" }), broker.subjects("S", "s.>")];
  for (const outcome of await Promise.allSettled([...calls, broker.flush()])) {
    if (outcome.status === "rejected") expect(outcome.reason).toBeInstanceOf(BrokerUnavailableError);
  }
  for (let value = 3; value <= 40; value += 1) await appendUntilStored(value);

  const stored = (await broker.read("S", { subject: "s.>" })).map(numberOf);
  expect(stored.slice(0, 2)).toEqual([1, 2]);
  expect(stored.at(-1)).toBe(40);
  await until("the followers saw the last", () => all.at(-1) === 40 && fresh.at(-1) === 40);
  await until("all were consumed", () => stored.every((value) => consumed.has(value)));
  expect(all).toEqual(stored);
  expect(fresh).toEqual(stored.slice(2));
  expect(broker.status).toBe("connected");
});

test("follow() from last gives nothing again after a restart, and what comes", async () => {
  const { server, broker, append, appendUntilStored } = await start();
  for (const value of [1, 2, 3]) await append(value);
  const seen: number[] = [];
  await broker.follow("S", { subjects: ["s.*"], from: "last" }, ({ seq }) => seen.push(seq));
  await until("the last was seen", () => seen.length === 1);
  process.kill(server.embedded.pid, "SIGKILL");
  await until("the loss was noticed", () => broker.status === "disconnected");
  await until("it is back", () => broker.status === "connected");
  const seq = await appendUntilStored(4);
  await until("the new one was seen", () => seen.at(-1) === seq);
  expect(seen[0]).toBe(3);
  expect(seen.slice(1)).toEqual(Array.from({ length: seq - 3 }, (_, i) => i + 4));
});

test("consume() updates a durable that stands with other subjects", async () => {
  const { broker, append } = await start();
  const options = { durable: "d", subjects: ["s.b"], maxInFlight: 1, ackWaitMs: 5_000 };
  (await broker.consume("S", options, () => undefined)).unsubscribe();
  await append(1);
  const seen: string[] = [];
  await broker.consume("S", { ...options, subjects: ["s.a", "s.b"], ackWaitMs: 2_000 }, (delivery) => {
    seen.push(delivery.subject);
    delivery.ack();
  });
  await broker.append("s.b", Buffer.from("x"));
  await until("both came", () => seen.includes("s.b"));
  const manager = await jetstreamManager(broker.connection);
  const { config } = await manager.consumers.info("S", "d");
  expect([config.filter_subjects, config.ack_wait]).toEqual([["s.a", "s.b"], 2_000_000_000]);
});

test("a call in an outage ends by itself, and nothing of it is kept to be sent", async () => {
  const { server, broker } = await start();
  await server.stop();
  await until("the loss was noticed", () => broker.status === "disconnected");
  const { outMsgs } = broker.connection.stats();
  const calls = Array.from({ length: 100 }, (_, i) => broker.request("nobody", Buffer.from(String(i)), 50));
  const appends = Array.from({ length: 100 }, (_, i) =>
    broker.append("s.a", Buffer.from(String(i)), { timeoutMs: 50 }),
  );
  for (const outcome of await Promise.allSettled([...calls, ...appends]))
    expect(outcome).toMatchObject({ status: "rejected", reason: expect.any(BrokerUnavailableError) as unknown });
  expect(broker.connection.stats().outMsgs).toBe(outMsgs);
});
