/** The lab on a real server: what its devices say, and what they can be told, over the subjects that real devices use. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { encodeLease, leaseKey } from "../../actors/lease.ts";
import { claimHost, HostTakenError } from "../../gateway/lab/claim.ts";
import { labHost, type LabHost } from "../../gateway/lab/hosts.ts";
import { type RunningLabHost, startLabHost } from "../../gateway/lab/lab-host.ts";
import { applyStreams } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { systemClock } from "../../runtime/clock.ts";
import { NoResponderError } from "../../runtime/errors.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const names = makeNames({ namespace: "labtest" });
const PI1 = labHost("sunri-pi1") as LabHost;
const DEADLINE_MS = 15_000;

let server: TestServer;
let broker: Awaited<ReturnType<typeof connectBroker>>;
let dataDir: string;
let lab: RunningLabHost | undefined;

const start = async (firstIncidentMs: number): Promise<RunningLabHost> =>
  await startLabHost({
    host: PI1,
    broker,
    names,
    log: pino({ level: "silent" }),
    dataDir,
    plan: { seed: 1, firstIncidentMs, minGapMs: 600_000, maxGapMs: 600_000 },
  });

const json = (bytes: Uint8Array): unknown => JSON.parse(Buffer.from(bytes).toString("utf8"));
const tell = async (device: string, body: object): Promise<unknown> =>
  json(await broker.request(names.deviceCommand("sunri-pi1", device), Buffer.from(JSON.stringify(body)), 5_000));

/** What the lock's actor does when it grants. */
const lend = async (device: string, token: number): Promise<void> => {
  const resource = `sunri-pi1:${device}`;
  const grants = [{ token, holder: "task/t", expiresAtMs: systemClock.now() + 600_000 }];
  await broker.append(
    names.kv.leases.key(leaseKey(resource)),
    encodeLease({ resource, version: token, token, grants }),
  );
};

beforeAll(async () => {
  server = await startTestServer();
  dataDir = await mkdtemp(join(tmpdir(), "troupe-lab-"));
  broker = await connectBroker({ servers: server.url });
  await applyStreams(broker.connection, streamSpecs(names));
  lab = await start(100);
});

afterAll(async () => {
  lab?.stop();
  await broker?.close();
  await server?.stop();
  await rm(dataDir, { recursive: true, force: true });
});

test("startLabHost() keeps the last heartbeat of each device in the presence stream", async () => {
  const beats = await vi.waitFor(async () => {
    const found = await broker.readLast(names.stream.presence, names.deviceHeartbeats, 10);
    expect(found).toHaveLength(2);
    return found;
  }, DEADLINE_MS);
  expect(beats.map(({ subject }) => subject).toSorted()).toEqual(
    PI1.devices.map(({ id }) => names.deviceHeartbeat("sunri-pi1", id)),
  );
  const facts = beats.map(({ data }) => json(data)).find((beat) => (beat as { name: string }).name === "EOS");
  expect(facts).toMatchObject({
    model: "stb",
    host_name: "sunri-pi1",
    device_id: "device2",
    capabilities: { av: "hdmi_stream", power: "tapo" },
  });
});

test("a black screen is reported on the device's own subject, mended by HOME, and reported as resolved", async () => {
  const subject = names.deviceEvent("sunri-pi1", "device1", "alert.blackscreen");
  const alert = await vi.waitFor(async () => {
    const stored = await broker.getLast(names.stream.ingress, subject);
    expect(stored).not.toBeNull();
    return json(stored?.data ?? new Uint8Array());
  }, DEADLINE_MS);
  expect(alert).toMatchObject({
    host_name: "sunri-pi1",
    device_id: "device1",
    incident_type: "blackscreen",
    status: "active",
  });

  await lend("device1", 3);
  expect(await tell("device1", { command: "frame", token: 3, invocationId: "i1" })).toMatchObject({
    ok: true,
    output: { blackscreen: true },
  });
  expect(
    await tell("device1", { command: "press_key", params: { key: "HOME" }, token: 3, invocationId: "i2" }),
  ).toMatchObject({ ok: true });
  expect(await tell("device1", { command: "frame", token: 3, invocationId: "i3" })).toMatchObject({
    ok: true,
    output: { blackscreen: false },
  });
  expect(await tell("device1", { command: "frame", token: 2, invocationId: "i4" })).toMatchObject({
    ok: false,
    code: "STALE_TOKEN",
  });

  await vi.waitFor(async () => {
    const stored = await broker.getLast(names.stream.ingress, subject);
    expect(json(stored?.data ?? new Uint8Array())).toMatchObject({
      specversion: "1.0",
      type: "alert.blackscreen",
      data: { id: (alert as { id: string }).id, status: "resolved" },
    });
  }, DEADLINE_MS);
});

test("malformed commands are answered, not dropped", async () => {
  const answer = await broker.request(names.deviceCommand("sunri-pi1", "device2"), Buffer.from("{nonsense"), 5_000);
  expect(json(answer)).toMatchObject({ ok: false, code: "BAD_REQUEST" });
});

test("a second driver of the same host is refused, also one that starts at the same moment, and a killed one keeps nobody out", async () => {
  await expect(start(600_000)).rejects.toThrow(HostTakenError);
  await expect(start(600_000)).rejects.toThrow(/"sunri-pi1" are driven by the process .* already: stop that one first/);

  const brokers = await Promise.all([1, 2, 3].map(() => connectBroker({ servers: server.url })));
  const claims = await Promise.allSettled(
    brokers.map((one) => claimHost({ broker: one, names, clock: systemClock }, "h")),
  );
  expect(claims.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const one of brokers) await one.close(); // as SIGKILL closes a connection, nothing is taken back first
  (await claimHost({ broker, names, clock: systemClock }, "h")).unsubscribe();
});

test("a stopped host has no drivers, and a restarted one still knows its tokens", async () => {
  lab?.stop();
  await broker.flush();
  await vi.waitFor(async () => {
    await expect(tell("device1", { command: "frame", token: 4, invocationId: "i5" })).rejects.toThrow(NoResponderError);
  }, DEADLINE_MS);
  lab = await start(600_000);
  await broker.flush();
  expect(await tell("device1", { command: "frame", token: 2, invocationId: "i6" })).toMatchObject({
    ok: false,
    code: "STALE_TOKEN",
  });
  expect(await tell("device1", { command: "screenshot", token: 3, invocationId: "i7" })).toMatchObject({ ok: true });
});

test("a silent device answers nothing until its silence ends", async () => {
  const station = lab?.stations[1];
  expect(station?.suffer({ afterMs: 0, device: "device2", kind: "silence", durationMs: 400 })).toBe(true);
  await broker.flush();
  await lend("device2", 9);
  await expect(tell("device2", { command: "frame", token: 9, invocationId: "s1" })).rejects.toThrow(NoResponderError);
  await vi.waitFor(async () => {
    expect(await tell("device2", { command: "frame", token: 9, invocationId: "s2" })).toMatchObject({ ok: true });
  }, DEADLINE_MS);
});
