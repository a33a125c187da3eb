/**
 * Fetches nats-server as Debian's signed package, without root and without touching the system's apt state. Invariant:
 * the cache holds either a whole version or none, however many processes fetch at once.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { findDebianArchive, renderSource } from "./apt-sources.ts";
import { PackageFetchError, ServerNotFoundError } from "./errors.ts";

/** The first Debian release whose nats-server is new enough. */
const SUITE = "forky";
const PACKAGE = "nats-server";
/** Where the package has the binary. */
const BINARY_IN_PACKAGE = "usr/sbin/nats-server";
/** How long apt may take, in ms: index and package are about 20 MB. */
const APT_TIMEOUT_MS = 180_000;
const OUTPUT_LIMIT_BYTES = 4 * 1024 ** 2;

const run = promisify(execFile);

export interface FetchOptions {
  /** Where versions are kept, each in a folder of its own. */
  readonly directory: string;
  readonly log: (line: string) => void;
  /** The machine's apt configuration. Tests name another. */
  readonly aptDirectory?: string;
}

function aptOptions(work: string): string[] {
  const options = [
    `Dir::Etc::sourcelist=${join(work, "debian.sources")}`,
    // Neither the machine's other sources nor its pins have a say in what we fetch.
    "Dir::Etc::sourceparts=-",
    "Dir::Etc::preferences=-",
    "Dir::Etc::preferencesparts=-",
    `Dir::State::lists=${join(work, "lists")}`,
    `Dir::Cache=${join(work, "cache")}`,
    "Acquire::Languages=none",
    "Acquire::Retries=2",
  ];
  // As root, apt drops to a user that may not write into our cache.
  if (process.getuid?.() === 0) options.push("APT::Sandbox::User=root");
  return options.flatMap((option) => ["-o", option]);
}

function reasonOf(error: unknown): string {
  const { stderr, code, message } = error as { stderr?: string; code?: string | number; message?: string };
  if (code === "ENOENT") return "a tool is missing, apt-get and dpkg-deb are needed";
  const lines = (stderr ?? "").split("\n").filter((line) => /^(E|W|Err|dpkg)/.test(line));
  return lines.slice(-3).join("; ") || message || String(error);
}

async function download(work: string): Promise<string> {
  await Promise.all(
    ["lists/partial", "cache/archives/partial", "root"].map((name) => mkdir(join(work, name), { recursive: true })),
  );
  const settings = {
    cwd: work,
    timeout: APT_TIMEOUT_MS,
    maxBuffer: OUTPUT_LIMIT_BYTES,
    env: { ...process.env, LC_ALL: "C" },
  };
  await run("apt-get", [...aptOptions(work), "-q", "update", "--error-on=any"], settings);
  await run("apt-get", [...aptOptions(work), "-q", "download", PACKAGE], settings);
  const archive = (await readdir(work)).find((name) => name.endsWith(".deb"));
  if (archive === undefined) throw new Error("apt-get left no package");
  await run("dpkg-deb", ["-x", join(work, archive), join(work, "root")], settings);
  return archive;
}

/** Moves the finished folder into place; if another process was first, its copy is as good as ours. */
async function publish(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** @throws {PackageFetchError} The cache cannot be written. */
async function workFolder(cache: string): Promise<string> {
  try {
    await mkdir(cache, { recursive: true });
    return await mkdtemp(join(cache, ".fetch-"));
  } catch (cause) {
    const problem = `the cache "${cache}" cannot be written (${reasonOf(cause)}): make it writable, or name another folder in TROUPE_CACHE`;
    throw new PackageFetchError(problem, { cause });
  }
}

/**
 * Puts the package's nats-server into `directory` and returns its path.
 * @throws {ServerNotFoundError} This machine has no Debian archive among its apt sources.
 * @throws {PackageFetchError} The cache cannot be written, or apt failed: no network, no space, or a tool is missing.
 */
export async function fetchDebianPackage(options: FetchOptions): Promise<string> {
  const source = await findDebianArchive(options.aptDirectory);
  if (source === undefined)
    throw new ServerNotFoundError(
      "No nats-server was found, and this machine's apt has no Debian archive to fetch it from",
    );
  options.log(`Fetching nats-server with apt from Debian ${SUITE} (about 20 MB, once)`);
  const work = await workFolder(options.directory);
  try {
    await writeFile(join(work, "debian.sources"), renderSource(source, SUITE));
    const archive = await download(work);
    const version = archive.split("_")[1] ?? "unknown";
    await mkdir(join(work, "done"));
    await copyFile(join(work, "root", BINARY_IN_PACKAGE), join(work, "done", PACKAGE));
    await publish(join(work, "done"), join(options.directory, version));
    return join(options.directory, version, PACKAGE);
  } catch (cause) {
    throw new PackageFetchError(reasonOf(cause), { cause });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
