/**
 * A nats-server of our own, for a laptop and for tests: one child process, watched and restarted. Invariant: while it is
 * started, one server at most runs on the data directory, always at the same address; after `stop()` none does.
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findServerBinary } from "./binary.ts";
import { claimDataDir, type DataDirClaim, type SystemUser } from "./data-dir.ts";
import { DiskWatch } from "./disk-watch.ts";
import { ConfigValueError, DataDirError, PortTakenError, ServerCrashLoopError } from "./errors.ts";
import { findFreePort, isPortFree, LOOPBACK } from "./ports.ts";
import { identify } from "./process-identity.ts";
import { renderServerConfig } from "./server-config.ts";
import { type ServerProcess, spawnServer, untilReady } from "./server-process.ts";
import { pause, randomId, stopwatch } from "./wait.ts";

/** A server that lived this long after it was ready did not die of its start, in ms. */
const STABLE_MS = 1_000;
/** Deaths in a row, each right after the start, until the server is left down: about 5 s of trying. */
export const MAX_RAPID_DEATHS = 8;
/** First pause before a restart after a rapid death, in ms; it doubles. The first restart of all comes at once. */
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;
/** Tries with other free ports when another program is faster. */
const MAX_PORT_TRIES = 5;
const MAX_PORT = 65_535;
const CONFIG_FILE = "nats-server.conf";
const SYSTEM_USER = "system";

export interface EmbeddedServerOptions {
  /** Where the streams are kept. Made if missing; survives restarts. */
  readonly dataDir: string;
  /** 0 or absent: the port of the last start in this directory if it is free, else a free one. */
  readonly port?: number;
  /** Absent: no MQTT. 0: as for `port`. */
  readonly mqttPort?: number;
  /** `always` (default): an acknowledged message is on the disk. `interval`: it survives kill -9, not a power loss. */
  readonly sync?: "always" | "interval";
  /** Told every line that the server logs, and what is done about its death. */
  readonly log?: (line: string) => void;
  /** Path of nats-server. Absent: see `findServerBinary()`. */
  readonly binary?: string;
}

export interface EmbeddedServer {
  readonly url: string;
  readonly port: number;
  readonly mqttUrl?: string;
  /** The user who may listen to `$SYS`: `connect({ servers: url, ...systemUser })`. */
  readonly systemUser: SystemUser;
  /** Of the run that is up, or of the last one. */
  readonly pid: number;
  /** Ends the server and waits until it is gone. Idempotent. */
  stop(): Promise<void>;
  /** Calls `listener` with the new pid each time the server is up again after it died. Returns the way to stop that. */
  onRestart(listener: (pid: number) => void): () => void;
  /** Calls `listener` once if the server keeps dying and is left down. */
  onFailure(listener: (error: ServerCrashLoopError) => void): () => void;
}

interface Plan {
  readonly claim: DataDirClaim;
  readonly binary: string;
  readonly serverName: string;
  readonly password: string;
  readonly sync: "always" | "interval";
  readonly log: (line: string) => void;
  /** Told each line of the server's own log. */
  readonly onLine: (line: string) => void;
}

interface Ports {
  readonly port: number;
  readonly mqttPort: number | undefined;
}

interface Listeners {
  readonly restart: Set<(pid: number) => void>;
  readonly failure: Set<(error: ServerCrashLoopError) => void>;
}

async function choosePort(wanted: number | undefined, remembered: number | undefined): Promise<number> {
  if (wanted !== undefined && wanted !== 0) {
    if (!Number.isInteger(wanted) || wanted < 0 || wanted > MAX_PORT)
      throw new ConfigValueError(`The port ${wanted} is not one: use 1 to ${MAX_PORT}, or 0 for a free one`);
    if (!(await isPortFree(wanted))) throw new PortTakenError(wanted);
    return wanted;
  }
  return remembered !== undefined && (await isPortFree(remembered)) ? remembered : await findFreePort();
}

function addresses({ port, mqttPort }: Ports, password: string) {
  return {
    url: `nats://${LOOPBACK}:${port}`,
    systemUser: { user: SYSTEM_USER, pass: password },
    ...(mqttPort === undefined ? {} : { mqttUrl: `mqtt://${LOOPBACK}:${mqttPort}` }),
  };
}

async function launch(plan: Plan, ports: Ports): Promise<ServerProcess> {
  const { claim, binary, serverName, password, sync, onLine } = plan;
  const configFile = join(claim.path, CONFIG_FILE);
  const config = renderServerConfig({
    serverName,
    listen: `${LOOPBACK}:${ports.port}`,
    storeDir: claim.path,
    sync,
    system: { user: SYSTEM_USER, password },
    ...(ports.mqttPort === undefined ? {} : { mqtt: `${LOOPBACK}:${ports.mqttPort}` }),
  });
  await writeFile(configFile, config, { mode: 0o600 }).catch((error: unknown) => {
    throw new DataDirError(claim.path, error);
  });
  const server = await spawnServer({ binary, configFile, log: onLine });
  try {
    const identity = identify(server.pid);
    await claim.update(
      { ...addresses(ports, password), ...(identity === undefined ? {} : { server: identity }) },
      { port: ports.port, ...(ports.mqttPort === undefined ? {} : { mqttPort: ports.mqttPort }) },
    );
    await untilReady(server, { name: serverName, port: ports.port, dataDir: claim.path });
    return server;
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function launchOnSomePort(
  plan: Plan,
  options: EmbeddedServerOptions,
): Promise<{ server: ServerProcess; ports: Ports }> {
  const { remembered } = plan.claim;
  for (let attempt = 1; ; attempt++) {
    const again = attempt > 1;
    const port = await choosePort(options.port, again ? undefined : remembered.port);
    const mqttPort =
      options.mqttPort === undefined
        ? undefined
        : await choosePort(options.mqttPort, again ? undefined : remembered.mqttPort);
    const ports = { port, mqttPort };
    try {
      return { server: await launch(plan, ports), ports };
    } catch (error) {
      const mayChoose = !options.port || options.mqttPort === 0;
      if (!(error instanceof PortTakenError) || !mayChoose || attempt === MAX_PORT_TRIES) throw error;
    }
  }
}

/** Watches the runs of one server. Everything that changes over its life is in here. */
class Supervisor {
  current: ServerProcess;
  readonly #plan: Plan;
  readonly #ports: Ports;
  readonly #listeners: Listeners;
  readonly #stopping = new AbortController();
  readonly #watch: Promise<void>;

  constructor(plan: Plan, ports: Ports, first: ServerProcess, listeners: Listeners) {
    this.#plan = plan;
    this.#ports = ports;
    this.#listeners = listeners;
    this.current = first;
    this.#watch = this.#supervise();
  }

  async #supervise(): Promise<void> {
    const { signal } = this.#stopping;
    let rapidDeaths = 0;
    let lifetime = stopwatch();
    while (!signal.aborted) {
      const how = await this.current.exited;
      if (signal.aborted) return;
      rapidDeaths = lifetime() >= STABLE_MS ? 0 : rapidDeaths + 1;
      this.#plan.log(`nats-server ended (${how}): restarting it at port ${this.#ports.port}`);
      const cause = await this.#restart(rapidDeaths);
      if (cause !== undefined) {
        const error = new ServerCrashLoopError(MAX_RAPID_DEATHS, { cause });
        this.#plan.log(error.message);
        notify(this.#listeners.failure, error);
        return;
      }
      lifetime = stopwatch();
    }
  }

  /** Starts the server again, with growing pauses; undefined: it is up, or `stop()` was called. */
  async #restart(rapidDeaths: number): Promise<unknown> {
    const { signal } = this.#stopping;
    let cause: unknown = new Error(this.current.lastLines.join("\n"));
    for (let deaths = rapidDeaths; deaths < MAX_RAPID_DEATHS; deaths++) {
      const delayMs = deaths === 0 ? 0 : Math.min(BACKOFF_FIRST_MS * 2 ** (deaths - 1), BACKOFF_MAX_MS);
      // Rejects only because `stop()` was called, which the next line sees.
      await pause(delayMs, signal).catch(() => {});
      if (signal.aborted) return undefined;
      try {
        this.current = await launch(this.#plan, this.#ports);
        notify(this.#listeners.restart, this.current.pid);
        return undefined;
      } catch (error) {
        this.#plan.log(`nats-server did not come up: ${error instanceof Error ? error.message : String(error)}`);
        cause = error;
      }
    }
    return cause;
  }

  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort();
      await this.current.stop();
    }
    await this.#watch;
    // A restart that was under way when we were asked to stop has put up one more.
    await this.current.stop();
    await this.#plan.claim.release();
  }
}

/** In a task of its own, so that a listener that throws is its owner's uncaught error and does not end the supervision. */
function notify<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
  for (const listener of listeners) queueMicrotask(() => listener(value));
}

function subscribe<T>(set: Set<T>, listener: T): () => void {
  set.add(listener);
  return () => {
    set.delete(listener);
  };
}

/**
 * Starts nats-server on loopback and resolves when it takes connections.
 * @throws {ServerNotFoundError} {@link ServerTooOldError} {@link PackageFetchError} No usable binary.
 * @throws {DataDirError} {@link DataDirInUseError} The directory is unusable, or another process has it.
 * @throws {PortTakenError} Somebody listens on the given port.
 * @throws {ServerStartError} The server ended before it was ready; the message has its last log lines.
 */
export async function startEmbeddedServer(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const log = options.log ?? (() => {});
  const env = options.binary === undefined ? process.env : { ...process.env, TROUPE_NATS_SERVER: options.binary };
  const binary = await findServerBinary({ env, log });
  const claim = await claimDataDir(options.dataDir);
  const serverName = `troupe-${createHash("sha256").update(claim.path).digest("hex").slice(0, 12)}`;
  const stopping = new AbortController();
  let supervisor: Supervisor | undefined;
  const disk = new DiskWatch({
    dataDir: claim.path,
    signal: stopping.signal,
    log,
    onRoom: async () => await supervisor?.current.stop(),
  });
  const plan: Plan = {
    claim,
    binary: binary.path,
    serverName,
    password: randomId(16),
    sync: options.sync ?? "always",
    log,
    onLine: (line) => {
      log(line);
      disk.look(line);
    },
  };
  try {
    const { server, ports } = await launchOnSomePort(plan, options);
    const listeners: Listeners = { restart: new Set(), failure: new Set() };
    const running = new Supervisor(plan, ports, server, listeners);
    supervisor = running;
    return {
      ...addresses(ports, plan.password),
      port: ports.port,
      get pid() {
        return running.current.pid;
      },
      stop: () => {
        stopping.abort();
        return running.stop();
      },
      onRestart: (listener) => subscribe(listeners.restart, listener),
      onFailure: (listener) => subscribe(listeners.failure, listener),
    };
  } catch (error) {
    await claim.release();
    throw error;
  }
}
