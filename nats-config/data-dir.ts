/**
 * Exclusive ownership of a data directory on this machine. Invariant: at most one live process owns a directory, and no
 * server of a former owner still writes into it when a claim succeeds. nats-server itself does not lock its store.
 */
import { link, mkdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DataDirError, DataDirInUseError } from "./errors.ts";
import { identify, isAlive, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { deadlineIn, pause, randomId } from "./wait.ts";

/** How long a server whose owner died may take to end by itself, in ms; it writes out its streams meanwhile. */
const ORPHAN_GRACE_MS = 5_000;
/** How long one that was killed may take to be gone, in ms. */
const KILL_GRACE_MS = 5_000;
const POLL_MS = 20;
/** Claims that may collide before we give up: each collision means that another process was faster. */
const MAX_CLAIM_TRIES = 10;

const RECORD = "owner.json";
/** What stays when nobody owns the directory: the ports, so that the next start has the same addresses. */
const PORTS = "ports.json";

export interface RememberedPorts {
  readonly port?: number;
  readonly mqttPort?: number;
}

/** Credentials for `$SYS`, in the client's own terms. New at each start; the files that hold them are their user's only. */
export interface SystemUser {
  readonly user: string;
  readonly pass: string;
}

export interface OwnerRecord {
  readonly owner: ProcessIdentity;
  readonly server?: ProcessIdentity;
  readonly url?: string;
  readonly mqttUrl?: string;
  readonly systemUser?: SystemUser;
}

export interface DataDirClaim {
  /** Absolute, without symbolic links. */
  readonly path: string;
  readonly remembered: RememberedPorts;
  /** Records the server, for whoever comes after us. */
  update(server: Omit<OwnerRecord, "owner">, ports: RememberedPorts): Promise<void>;
  release(): Promise<void>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A damaged record names nobody: it is as good as none.
    return undefined;
  }
}

async function readRecord<T>(path: string): Promise<T | undefined> {
  try {
    return parseJson(await readFile(path, "utf8")) as T | undefined;
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

async function gone(process: ProcessIdentity, withinMs: number): Promise<boolean> {
  const deadline = deadlineIn(withinMs);
  while (isAlive(process)) {
    if (deadline.expired) return false;
    await pause(POLL_MS);
  }
  return true;
}

/** Its watchdog has told it to end when its owner died. One that does not is killed: two servers on one store destroy it. */
async function endOrphan(directory: string, server: ProcessIdentity): Promise<void> {
  if (await gone(server, ORPHAN_GRACE_MS)) return;
  signalProcess(server, "SIGKILL");
  if (!(await gone(server, KILL_GRACE_MS))) throw new DataDirInUseError(directory, server.pid, undefined);
}

/** Takes a dead owner's record away, unless another process did so first and put its own there. */
async function removeStale(directory: string, stale: OwnerRecord | undefined): Promise<void> {
  const aside = join(directory, `${RECORD}.${randomId(6)}.stale`);
  await rename(join(directory, RECORD), aside);
  const moved = await readRecord<OwnerRecord>(aside);
  if (JSON.stringify(moved) !== JSON.stringify(stale)) await link(aside, join(directory, RECORD));
  await rm(aside, { force: true });
}

async function writeWhole(path: string, content: unknown): Promise<void> {
  const part = `${path}.${randomId(6)}.part`;
  await writeFile(part, JSON.stringify(content), { mode: 0o600 });
  await rename(part, path);
}

/** Whether we made the record. A link appears whole or not at all, so nobody reads half a record. */
async function tryClaim(directory: string, record: OwnerRecord): Promise<boolean> {
  const part = join(directory, `${RECORD}.${randomId(6)}.part`);
  await writeFile(part, JSON.stringify(record), { mode: 0o600 });
  try {
    await link(part, join(directory, RECORD));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(part, { force: true });
  }
}

async function claim(directory: string, record: OwnerRecord): Promise<void> {
  const path = join(directory, RECORD);
  for (let attempt = 0; attempt < MAX_CLAIM_TRIES; attempt++) {
    if (await tryClaim(directory, record)) return;
    const current = await readRecord<OwnerRecord>(path);
    if (current?.owner !== undefined && isAlive(current.owner))
      throw new DataDirInUseError(directory, current.owner.pid, current.url);
    if (current?.server !== undefined) await endOrphan(directory, current.server);
    try {
      await removeStale(directory, current);
    } catch (error) {
      // Another process took the stale record away, or made its own: look again.
      if (!["ENOENT", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }
  throw new DataDirInUseError(directory, (await readRecord<OwnerRecord>(path))?.owner?.pid ?? 0, undefined);
}

/** The live owner of a data directory and its server's addresses, or undefined. */
export async function readOwner(directory: string): Promise<OwnerRecord | undefined> {
  const record = await readRecord<OwnerRecord>(join(directory, RECORD));
  return record?.owner !== undefined && isAlive(record.owner) ? record : undefined;
}

/**
 * Makes this process the directory's owner.
 * @throws {DataDirInUseError} A live process owns it.
 * @throws {DataDirError} It cannot be created or written.
 */
export async function claimDataDir(directory: string): Promise<DataDirClaim> {
  const owner = identify(process.pid);
  if (owner === undefined) throw new DataDirError(directory, "this process cannot find itself in the process table");
  try {
    await makeDirectory(resolve(directory));
    const path = await realpath(directory);
    await claim(path, { owner });
    return {
      path,
      remembered: (await readRecord<RememberedPorts>(join(path, PORTS))) ?? {},
      update: async (server, ports) => {
        await writeWhole(join(path, PORTS), ports);
        await writeWhole(join(path, RECORD), { owner, ...server });
      },
      release: () => rm(join(path, RECORD), { force: true }),
    };
  } catch (error) {
    if (error instanceof DataDirInUseError) throw error;
    throw new DataDirError(directory, error);
  }
}

/**
 * Creates a directory and what is missing above it. Node's own recursive mkdir never returns where the parent is there and
 * yet takes no children, as under /proc.
 */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return; // what stands there may be no directory: the claim tells
    if (code !== "ENOENT" || (await stat(dirname(path)).catch(() => undefined)) !== undefined) throw error;
    await makeDirectory(dirname(path));
    await mkdir(path);
  }
}
