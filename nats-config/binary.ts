/**
 * Finds a nats-server that is new enough: the one named by the environment, on PATH, in the cache, or fetched as Debian's
 * package. Invariant: a returned binary has answered `--version` with {@link MINIMUM_SERVER_VERSION} or newer.
 */
import { execFile } from "node:child_process";
import { access, constants, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { fetchDebianPackage } from "./debian-package.ts";
import { MINIMUM_SERVER_VERSION, ServerNotFoundError, ServerTooOldError } from "./errors.ts";

/** How long `--version` may take, in ms. A program that hangs here is not a nats-server. */
const VERSION_TIMEOUT_MS = 10_000;
const BINARY = "nats-server";

const run = promisify(execFile);

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ServerBinary {
  readonly path: string;
  /** Three numbers: `2.15.1`. */
  readonly version: string;
  readonly source: "environment" | "path" | "cache" | "debian";
}

export interface FindOptions {
  readonly env?: Environment;
  /** Told what is fetched or passed over. */
  readonly log?: (line: string) => void;
  /** The machine's apt configuration. Tests name another. */
  readonly aptDirectory?: string;
}

/** The version in the output of `nats-server --version`, or undefined. */
export function parseServerVersion(output: string): string | undefined {
  return /nats-server:?\s+v?(\d+\.\d+\.\d+)/i.exec(output)?.[1];
}

/** Negative: `a` is older than `b`. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Where fetched programs are kept: `TROUPE_CACHE`, else `troupe` in the user's cache folder. */
export function cacheDirectory(env: Environment = process.env): string {
  const explicit = env["TROUPE_CACHE"];
  if (explicit) return explicit;
  return join(env["XDG_CACHE_HOME"] || join(env["HOME"] || homedir(), ".cache"), "troupe");
}

/** The servers named by `NATS_URL` (several separated by commas), or undefined: then a server is embedded. */
export function natsUrl(env: Environment = process.env): string[] | undefined {
  const urls = (env["NATS_URL"] ?? "")
    .split(",")
    .map((url) => url.trim())
    .filter((url) => url !== "");
  return urls.length === 0 ? undefined : urls;
}

/** Undefined: the file is no program that calls itself nats-server. */
async function versionOf(path: string): Promise<{ version: string | undefined; problem: string }> {
  try {
    const { stdout, stderr } = await run(path, ["--version"], { timeout: VERSION_TIMEOUT_MS, encoding: "utf8" });
    const output = `${stdout}${stderr}`;
    return {
      version: parseServerVersion(output),
      problem: `"${path} --version" printed ${JSON.stringify(output.slice(0, 100))}`,
    };
  } catch (error) {
    return { version: undefined, problem: error instanceof Error ? error.message.trim() : String(error) };
  }
}

function isNewEnough(version: string): boolean {
  return compareVersions(version, MINIMUM_SERVER_VERSION) >= 0;
}

async function named(path: string): Promise<ServerBinary> {
  const { version, problem } = await versionOf(path);
  if (version === undefined)
    throw new ServerNotFoundError(
      `TROUPE_NATS_SERVER names "${path}", which is no nats-server that runs here (${problem})`,
    );
  if (!isNewEnough(version)) throw new ServerTooOldError(path, version);
  return { path, version, source: "environment" };
}

async function onPath(env: Environment): Promise<string | undefined> {
  for (const directory of (env["PATH"] ?? "").split(delimiter).filter((entry) => entry !== "")) {
    const path = join(directory, BINARY);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  return undefined;
}

/** Cached binaries, newest first. */
async function cached(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
  return names
    .filter((name) => /^\d/.test(name))
    .sort((a, b) => compareVersions(b.replace(/-.*/, ""), a.replace(/-.*/, "")))
    .map((name) => join(directory, name, BINARY));
}

/**
 * The nats-server to run.
 * @throws {ServerTooOldError} The one named by `TROUPE_NATS_SERVER`, or the only one found, is too old.
 * @throws {ServerNotFoundError} None runs here and this machine has no Debian archive.
 * @throws {PackageFetchError} None runs here and apt could not deliver one.
 */
export async function findServerBinary(options: FindOptions = {}): Promise<ServerBinary> {
  const env = options.env ?? process.env;
  const log = options.log ?? (() => {});
  const explicit = env["TROUPE_NATS_SERVER"];
  if (explicit) return await named(explicit);

  let tooOld: ServerTooOldError | undefined;
  const usable = async (path: string, source: ServerBinary["source"]): Promise<ServerBinary | undefined> => {
    const { version, problem } = await versionOf(path);
    if (version !== undefined && isNewEnough(version)) return { path, version, source };
    if (version !== undefined) tooOld = new ServerTooOldError(path, version);
    log(
      version === undefined
        ? `Passing over ${path}: ${problem}`
        : `Passing over ${path}: version ${version} is older than ${MINIMUM_SERVER_VERSION}`,
    );
    return undefined;
  };

  const path = await onPath(env);
  const installed = path === undefined ? undefined : await usable(path, "path");
  if (installed !== undefined) return installed;
  const directory = join(cacheDirectory(env), BINARY);
  for (const candidate of await cached(directory)) {
    const found = await usable(candidate, "cache");
    if (found !== undefined) return found;
  }
  try {
    const fetched = await fetchDebianPackage({
      directory,
      log,
      ...(options.aptDirectory === undefined ? {} : { aptDirectory: options.aptDirectory }),
    });
    const found = await usable(fetched, "debian");
    if (found !== undefined) return found;
  } catch (cause) {
    // The old binary is what its owner can act on: the failed fetch is its cause.
    if (tooOld !== undefined && cause instanceof ServerNotFoundError)
      throw new ServerTooOldError(tooOld.path, tooOld.version, { cause });
    throw cause;
  }
  throw (
    tooOld ??
    new ServerNotFoundError("The fetched nats-server does not run on this machine: it needs glibc 2.34 or newer")
  );
}
