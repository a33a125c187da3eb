import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import mqtt from "mqtt";
import { connect } from "nats";
import { afterEach, describe, expect, test, vi } from "vitest";
import { findServerBinary } from "../../nats-config/binary.ts";
import { readOwner } from "../../nats-config/data-dir.ts";
import {
  type EmbeddedServer,
  type EmbeddedServerOptions,
  MAX_RAPID_DEATHS,
  startEmbeddedServer,
} from "../../nats-config/embedded-server.ts";
import {
  DataDirError,
  DataDirInUseError,
  PortTakenError,
  ServerStartError,
  ServerTooOldError,
} from "../../nats-config/errors.ts";
import { findFreePort } from "../../nats-config/ports.ts";
import { identify } from "../../nats-config/process-identity.ts";

const DEADLINE_MS = 10_000;
/** A request that was on its way to a killed server is repeated after this long, in ms. */
const REQUEST_MS = 200;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function freshDir(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "troupe-test-"));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function start(options: Partial<EmbeddedServerOptions> = {}): Promise<EmbeddedServer> {
  const server = await startEmbeddedServer({ dataDir: options.dataDir ?? (await freshDir()), ...options });
  cleanups.push(() => server.stop());
  return server;
}

const gone = (pid: number) =>
  vi.waitFor(() => expect(identify(pid)).toBeUndefined(), { timeout: DEADLINE_MS, interval: 10 });

async function listenOn(port: number): Promise<Server> {
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(port, "127.0.0.1", resolve));
  cleanups.push(() => new Promise((resolve) => listener.close(resolve)));
  return listener;
}

describe("startEmbeddedServer()", () => {
  test("serves NATS, JetStream and MQTT to anonymous clients, tells them of disconnects, and serves $SYS to the system user only", async () => {
    const server = await start({ mqttPort: 0 });
    const system = await connect({ servers: server.url, ...server.systemUser });
    const disconnects: string[] = [];
    system.subscribe("$SYS.ACCOUNT.*.DISCONNECT", { callback: (_, message) => void disconnects.push(message.subject) });
    await system.flush();
    const nc = await connect({ servers: server.url });
    await (await jetstreamManager(nc)).streams.add({ name: "A", subjects: ["device.>"] });
    const device = await mqtt.connectAsync(server.mqttUrl ?? "");
    await device.publishAsync("device/host/tv/event/alert", "{}", { qos: 1 });
    await device.endAsync();
    const { subjects } = (await (await jetstreamManager(nc)).streams.info("A", { subjects_filter: ">" })).state;
    expect(subjects).toEqual({ "device.host.tv.event.alert": 1 });
    const heard: string[] = [];
    nc.subscribe("$SYS.>", { callback: (_, message) => void heard.push(message.subject) });
    await nc.flush();
    await (await connect({ servers: server.url })).close();
    const told = ["$SYS.ACCOUNT.TROUPE.CONNECT", "$SYS.ACCOUNT.TROUPE.DISCONNECT"];
    await vi.waitFor(() => expect(heard).toEqual(told), DEADLINE_MS);
    await nc.close();
    await vi.waitFor(() => expect(disconnects).toContain("$SYS.ACCOUNT.TROUPE.DISCONNECT"), DEADLINE_MS);
    await system.close();
  });

  test("comes back at the same address with its data when it is started again", async () => {
    const dataDir = await freshDir();
    const first = await start({ dataDir, mqttPort: 0 });
    const nc = await connect({ servers: first.url });
    await (await jetstreamManager(nc)).streams.add({ name: "A", subjects: ["a"] });
    await jetstream(nc).publish("a", "kept");
    await nc.close();
    await first.stop();
    await first.stop();
    expect(identify(first.pid)).toBeUndefined();
    const second = await start({ dataDir, mqttPort: 0 });
    expect([second.url, second.mqttUrl]).toEqual([first.url, first.mqttUrl]);
    const again = await connect({ servers: second.url });
    expect((await (await jetstreamManager(again)).streams.info("A")).state.messages).toBe(1);
    await again.close();
  });

  test("restarts at the same port, with every acknowledged message, each time it is killed", async () => {
    const server = await start();
    const nc = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
    await (await jetstreamManager(nc)).streams.add({ name: "A", subjects: ["a"] });
    for (let kill = 1; kill <= 3; kill++) {
      await vi.waitFor(() => jetstream(nc).publish("a", String(kill), { timeout: REQUEST_MS }), DEADLINE_MS);
      const restarted = new Promise<number>((resolve) => {
        const off = server.onRestart((pid) => {
          off();
          resolve(pid);
        });
      });
      const killed = server.pid;
      process.kill(killed, "SIGKILL");
      expect(await restarted).toBe(server.pid);
      expect(server.pid).not.toBe(killed);
      const info = await vi.waitFor(
        async () => (await jetstreamManager(nc, { timeout: REQUEST_MS })).streams.info("A"),
        DEADLINE_MS,
      );
      expect(info.state.messages).toBeGreaterThanOrEqual(kill);
    }
    await nc.close();
  });

  test("keeps credentials and its record readable by the user only, and leaves no record when stopped", async () => {
    const dataDir = await freshDir();
    const server = await start({ dataDir });
    for (const name of ["nats-server.conf", "owner.json"])
      expect((await stat(join(dataDir, name))).mode & 0o077).toBe(0);
    expect(await readOwner(dataDir)).toMatchObject({
      url: server.url,
      owner: { pid: process.pid },
      server: { pid: server.pid },
    });
    await server.stop();
    expect(await readOwner(dataDir)).toBeUndefined();
    expect((await readdir(dataDir)).sort()).toEqual(["jetstream", "nats-server.conf", "ports.json"]);
  });

  test("takes another free port when the remembered one is taken", async () => {
    const dataDir = await freshDir();
    const first = await start({ dataDir });
    await first.stop();
    await listenOn(first.port);
    expect((await start({ dataDir })).port).not.toBe(first.port);
  });

  test("throws PortTakenError when the given port, or the MQTT port, is taken", async () => {
    const port = await findFreePort();
    await listenOn(port);
    await expect(start({ port })).rejects.toThrow(new PortTakenError(port));
    await expect(start({ mqttPort: port })).rejects.toThrow(PortTakenError);
  });

  test("throws PortTakenError when another NATS server answers on the port", async () => {
    const other = await start();
    await expect(start({ port: other.port })).rejects.toThrow(PortTakenError);
  });

  test("throws DataDirError when the directory cannot be made", async () => {
    const file = join(await freshDir(), "file");
    await writeFile(file, "");
    await expect(start({ dataDir: join(file, "data") })).rejects.toThrow(DataDirError);
    await expect(start({ dataDir: file })).rejects.toThrow(/make it writable, or name another one/);
  });

  test("throws DataDirInUseError with the address of the server that has the directory", async () => {
    const dataDir = await freshDir();
    const owner = await start({ dataDir });
    const second = startEmbeddedServer({ dataDir });
    await expect(second).rejects.toThrow(DataDirInUseError);
    await expect(second).rejects.toThrow(`NATS_URL=${owner.url}`);
  });

  test("lets exactly one win when several start on one directory at once", async () => {
    const dataDir = await freshDir();
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => start({ dataDir })));
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const result of results)
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(DataDirInUseError);
  });

  test("takes over the directory when its record is stale or damaged", async () => {
    const dataDir = await freshDir();
    // Process 1 lives, but did not start then: a recycled pid is not the owner, and is not signalled.
    for (const record of ['{"owner":{"pid":1,"startedAt":"then"},"server":{"pid":1,"startedAt":"then"}}', "{", ""]) {
      await writeFile(join(dataDir, "owner.json"), record);
      await (await start({ dataDir })).stop();
    }
  });

  test("throws ServerTooOldError when the given binary is too old", async () => {
    const binary = join(await freshDir(), "nats-server");
    await writeFile(binary, "#!/bin/sh\necho 'nats-server: v2.9.0'\n");
    await chmod(binary, 0o755);
    await expect(start({ binary })).rejects.toThrow(ServerTooOldError);
  });

  test("throws ServerStartError with the last log lines when the server ends at its start", async () => {
    const binary = join(await freshDir(), "nats-server");
    await writeFile(
      binary,
      "#!/bin/sh\n[ \"$1\" = --version ] && echo 'nats-server: v2.15.1' && exit\necho 'the reason' >&2; exit 3\n",
    );
    await chmod(binary, 0o755);
    const dataDir = await freshDir();
    const failing = start({ binary, dataDir });
    await expect(failing).rejects.toThrow(ServerStartError);
    await expect(failing).rejects.toThrow(/exit code 3[^]*the reason/);
    expect(await readOwner(dataDir)).toBeUndefined();
  });
});

describe("startEmbeddedServer() when its server keeps dying", () => {
  test("reports ServerCrashLoopError after a bounded number of tries", async () => {
    const directory = await freshDir();
    const [binary, broken] = [join(directory, "nats-server"), join(directory, "broken")];
    await writeFile(
      binary,
      `#!/bin/sh\n[ -e '${broken}' ] && [ "$1" != --version ] && exit 9\nexec '${(await findServerBinary()).path}' "$@"\n`,
    );
    await chmod(binary, 0o755);
    const log: string[] = [];
    const server = await start({ binary, log: (line) => log.push(line) });
    const failed = new Promise<Error>((resolve) => server.onFailure(resolve));
    await writeFile(broken, "");
    process.kill(server.pid, "SIGKILL");
    expect(await failed).toMatchObject({ code: "NATS_SERVER_CRASH_LOOP", retryable: false });
    expect(log.filter((line) => line.includes("did not come up")).length).toBeLessThanOrEqual(MAX_RAPID_DEATHS);
    await server.stop();
  });
});

describe("the server of an owner that ends", () => {
  const script = fileURLToPath(new URL("../support/nats-owner.ts", import.meta.url));

  async function owner(dataDir: string, ...args: string[]): Promise<{ child: ChildProcess; url: string; pid: number }> {
    const child = spawn(process.execPath, [script, dataDir, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    cleanups.push(async () => child.kill("SIGKILL"));
    const line = await new Promise<string>((resolve) =>
      createInterface({ input: child.stdout! }).once("line", resolve),
    );
    return { child, ...(JSON.parse(line) as { url: string; pid: number }) };
  }

  test.each([
    ["is killed", "SIGKILL"],
    ["has no handler for the signal", "SIGTERM"],
    ["exits", "SIGUSR2"],
  ] as const)("ends too when the owner %s, and the next start takes over its data", async (_, signal) => {
    const dataDir = await freshDir();
    const { child, pid, url } = await owner(dataDir, "exit");
    child.kill(signal);
    await Promise.all([gone(pid), gone(child.pid ?? 0)]);
    expect((await start({ dataDir })).url).toBe(url);
  });

  test("is waited for, and killed if it does not end, when the next start finds it", async () => {
    const dataDir = await freshDir();
    const { child, pid } = await owner(dataDir);
    // Stopped, it cannot follow its watchdog's SIGTERM.
    process.kill(pid, "SIGSTOP");
    child.kill("SIGKILL");
    await gone(child.pid ?? 0);
    const server = await start({ dataDir });
    expect(identify(pid)).toBeUndefined();
    expect(server.pid).not.toBe(pid);
  });

  test("does not get the Ctrl-C of the owner's terminal", async () => {
    const { child, pid } = await owner(await freshDir());
    const group = async (id: number) => (await readFile(`/proc/${id}/stat`, "utf8")).split(") ")[1]?.split(" ")[2];
    expect(await group(pid)).not.toBe(await group(child.pid ?? 0));
  });
});
