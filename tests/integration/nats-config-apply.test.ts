import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, jetstreamManager, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applyStreams } from "../../nats-config/apply.ts";
import { findServerBinary } from "../../nats-config/binary.ts";
import { ApplyTimeoutError, StreamRefusedError, SubjectTakenError } from "../../nats-config/errors.ts";
import { findFreePort } from "../../nats-config/ports.ts";
import { renderServerConfig } from "../../nats-config/server-config.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const DAY_NS = 86_400e9;
let server: TestServer;
let nc: NatsConnection;
let count = 0;
/** A cluster's names that no other test of this file uses. */
const freshSpecs = () => streamSpecs(makeNames({ namespace: `n${++count}`, deviceRoot: `d${count}` }));

beforeAll(async () => {
  server = await startTestServer();
  nc = await connect({ servers: server.url });
});
afterAll(async () => {
  await nc.close();
  await server.stop();
});

/** What no start-up may exceed, in ms: a node has one second to be ready. */
const APPLY_BUDGET_MS = 300;

describe("applyStreams()", () => {
  test("creates every stream that the system needs within its share of a node's start, and changes nothing the second time", async () => {
    const specs = freshSpecs();
    const startMs = performance.now();
    const first = await applyStreams(nc, specs);
    expect(performance.now() - startMs).toBeLessThan(APPLY_BUDGET_MS);
    expect(first).toEqual(specs.map(({ name }) => ({ stream: name, action: "created", drift: [] })));
    const second = await applyStreams(nc, specs);
    expect(second).toEqual(specs.map(({ name }) => ({ stream: name, action: "unchanged", drift: [] })));
  });

  test("creates each stream once when several nodes start together", async () => {
    const specs = freshSpecs();
    const reports = await Promise.all(Array.from({ length: 4 }, () => applyStreams(nc, specs)));
    expect(reports.flat().filter(({ action }) => action !== "created" && action !== "unchanged")).toEqual([]);
  });

  test("fits more streams on a small disk than their limits add up to", async () => {
    // One cluster's limits add up to 17 GiB, so eight would need 136 GiB if the server reserved them.
    for (let cluster = 0; cluster < 8; cluster++) await applyStreams(nc, freshSpecs());
  });

  test("updates what the server lets one change and reports what it replaced", async () => {
    const manager = await jetstreamManager(nc);
    await manager.streams.add({ name: "UPD", subjects: ["upd.old"], max_age: DAY_NS });
    const spec = { name: "UPD", subjects: ["upd.old", "upd.new"], max_age: 2 * DAY_NS };
    expect(await applyStreams(nc, [spec])).toEqual([
      {
        stream: "UPD",
        action: "updated",
        drift: [
          { field: "max_age", wanted: 2 * DAY_NS, found: DAY_NS },
          { field: "subjects", wanted: ["upd.old", "upd.new"], found: ["upd.old"] },
        ],
      },
    ]);
    expect(await applyStreams(nc, [spec])).toEqual([{ stream: "UPD", action: "unchanged", drift: [] }]);
  });

  test("reports a field that cannot change, updates the others, and keeps every message", async () => {
    const manager = await jetstreamManager(nc);
    await manager.streams.add({ name: "FIX", subjects: ["fix.>"], storage: StorageType.Memory, max_bytes: 100 });
    await jetstream(nc).publish("fix.a", "kept");
    const spec = {
      name: "FIX",
      subjects: ["fix.>"],
      storage: StorageType.File,
      max_bytes: 5_000,
      retention: RetentionPolicy.Workqueue,
    };
    const [report] = await applyStreams(nc, [spec]);
    expect(report).toEqual({
      stream: "FIX",
      action: "drift",
      drift: [
        { field: "max_bytes", wanted: 5_000, found: 100 },
        { field: "retention", wanted: "workqueue", found: "limits", kept: expect.stringContaining("delete") as string },
        { field: "storage", wanted: "file", found: "memory", kept: expect.stringContaining("storage") as string },
      ],
    });
    const info = await manager.streams.info("FIX");
    expect([info.config.max_bytes, info.config.storage, info.state.messages]).toEqual([5_000, "memory", 1]);
    expect((await applyStreams(nc, [spec]))[0]?.drift.map(({ field }) => field)).toEqual(["retention", "storage"]);
  });

  test("deletes nothing when the wanted limit is lower than what is stored", async () => {
    const manager = await jetstreamManager(nc);
    await manager.streams.add({ name: "LOW", subjects: ["low"] });
    for (let n = 0; n < 5; n++) await jetstream(nc).publish("low", "x");
    const [report] = await applyStreams(nc, [{ name: "LOW", subjects: ["low"], max_msgs_per_subject: 1 }]);
    expect(report?.action).toBe("drift");
    expect((await manager.streams.info("LOW")).state.messages).toBe(5);
  });

  test("moves a subject from an existing stream to a new one", async () => {
    await applyStreams(nc, [{ name: "MOVE1", subjects: ["move.a", "move.b"] }]);
    const reports = await applyStreams(nc, [
      { name: "MOVE2", subjects: ["move.b"] },
      { name: "MOVE1", subjects: ["move.a"] },
    ]);
    expect(reports.map(({ stream, action }) => [stream, action])).toEqual([
      ["MOVE2", "created"],
      ["MOVE1", "updated"],
    ]);
  });

  test("throws StreamRefusedError with the server's reason when a stream cannot be created", async () => {
    await expect(applyStreams(nc, [{ name: "R3", subjects: ["r3"], num_replicas: 3 }])).rejects.toThrow(
      StreamRefusedError,
    );
  });

  test.each([
    ["covers", "mine.>"],
    ["is covered by", "mine.x.*"],
    ["crosses", "mine.*.y"],
  ])(
    "throws SubjectTakenError before it creates anything when a subject %s another cluster's",
    async (how, subject) => {
      const first = `FIRST_${how.length}`;
      await applyStreams(nc, [{ name: "OWNER", subjects: ["mine.x.>"] }]);
      const applied = applyStreams(nc, [
        { name: first, subjects: [first.toLowerCase()] },
        { name: "THIEF", subjects: [subject] },
      ]);
      await expect(applied).rejects.toThrow(SubjectTakenError);
      await expect(applied).rejects.toThrow(/"THIEF" is taken by the stream "OWNER" .*--device-root/);
      await expect((await jetstreamManager(nc)).streams.info(first)).rejects.toThrow("stream not found");
    },
  );

  test("a second cluster on one server needs a device root of its own", async () => {
    await applyStreams(nc, streamSpecs(makeNames({ namespace: "one" })));
    const second = { namespace: "two" };
    await expect(applyStreams(nc, streamSpecs(makeNames(second)))).rejects.toThrow(SubjectTakenError);
    const reports = await applyStreams(nc, streamSpecs(makeNames({ ...second, deviceRoot: "lab2" })));
    expect(new Set(reports.map(({ action }) => action))).toEqual(new Set(["created"]));
  });
});

/** Three servers on two busy cores elect a leader for the cluster and one for each stream; the engine's own time-outs are seconds. */
const CLUSTER_TIMEOUT_MS = 90_000;

describe("applyStreams() on other servers", () => {
  const stops: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const stop of stops.reverse()) await stop();
  });

  async function run(config: (directory: string) => string): Promise<void> {
    const directory = await mkdtemp(join(tmpdir(), "troupe-test-"));
    await writeFile(join(directory, "server.conf"), config(directory));
    const child = spawn((await findServerBinary()).path, ["-c", join(directory, "server.conf")], { stdio: "ignore" });
    const exited = new Promise((resolve) => child.once("exit", resolve));
    stops.push(async () => {
      child.kill("SIGKILL");
      await exited;
      await rm(directory, { recursive: true, force: true });
    });
  }

  const patient = (port: number) =>
    connect({
      servers: `nats://127.0.0.1:${port}`,
      waitOnFirstConnect: true,
      reconnectTimeWait: 20,
      maxReconnectAttempts: -1,
    });

  test("throws ApplyTimeoutError at the deadline when the server has no JetStream", async () => {
    const port = await findFreePort();
    await run(() => `listen: "127.0.0.1:${port}"\n`);
    const connection = await patient(port);
    await expect(applyStreams(connection, freshSpecs(), { deadlineMs: 200 })).rejects.toThrow(ApplyTimeoutError);
    await connection.close();
  });

  test("waits for the leader of a cluster that is still forming, then replicates every stream three times", {
    timeout: CLUSTER_TIMEOUT_MS,
  }, async () => {
    const ports = await Promise.all([1, 2, 3].map(findFreePort));
    const routes = await Promise.all([1, 2, 3].map(findFreePort));
    const start = (index: number) =>
      run((directory) =>
        renderServerConfig({
          serverName: `member-${index}`,
          listen: `127.0.0.1:${ports[index]}`,
          storeDir: directory,
          sync: "interval",
          cluster: {
            name: "test",
            listen: `127.0.0.1:${routes[index]}`,
            routes: routes.map((port) => `nats://127.0.0.1:${port}`),
          },
        }),
      );
    await start(0);
    const connection = await patient(ports[0] ?? 0);
    const specs = streamSpecs(makeNames({ namespace: "cluster" }), { replicas: 3 });
    const applied = applyStreams(connection, specs);
    await Promise.all([start(1), start(2)]);
    expect(new Set((await applied).map(({ action }) => action))).toEqual(new Set(["created"]));
    expect(new Set((await applyStreams(connection, specs)).map(({ action }) => action))).toEqual(
      new Set(["unchanged"]),
    );
    const info = await (await jetstreamManager(connection)).streams.info(specs[0]?.name ?? "");
    expect(info.config.num_replicas).toBe(3);
    await connection.close();
  });
});
