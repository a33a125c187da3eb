/**
 * A nats-server on a small disk of its own: a tmpfs in a mount namespace, so that nobody else sees it or runs out of space.
 * Needs Linux with user namespaces. Invariant: `stop()` leaves neither a process nor a mount behind.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** Room for the server's start and some load, in MiB. */
const DISK_MIB = 64;
const CHUNK = Buffer.alloc(64 * 1_024);
const WORKER = fileURLToPath(new URL("../fault/workers/small-disk.ts", import.meta.url));
const MOUNT = 'mount -t tmpfs -o size="$1"m none "$2" && exec "$3" "$4" "$2"';

export class SmallDisk {
  readonly url: string;
  readonly replicas = 1;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #dir: string;
  /** The same directory as seen from outside of the namespace. */
  readonly #inside: string;
  readonly log: readonly string[];

  private constructor(
    url: string,
    child: ChildProcessByStdio<Writable, Readable, Readable>,
    dir: string,
    log: readonly string[],
  ) {
    this.url = url;
    this.#child = child;
    this.#dir = dir;
    this.#inside = `/proc/${child.pid}/root${dir}`;
    this.log = log;
  }

  static async start(): Promise<SmallDisk> {
    const dir = await mkdtemp(join(tmpdir(), "troupe-disk-"));
    const args = ["-rm", "sh", "-c", MOUNT, "sh", String(DISK_MIB), dir, process.execPath, WORKER];
    const child = spawn("unshare", args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    const log: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => log.push(line));
    const first = await Promise.race([
      once(createInterface({ input: child.stdout }), "line") as Promise<[string]>,
      once(child, "exit").then(() => undefined),
    ]);
    if (first === undefined) throw new Error(`No small disk, are user namespaces allowed here?\n${log.join("\n")}`);
    const { url } = JSON.parse(first[0]) as { url: string };
    return new SmallDisk(url, child, dir, log);
  }

  /** Takes all the space that is left. */
  async fill(): Promise<void> {
    const file = await open(join(this.#inside, "filler"), "a");
    try {
      for (;;) await file.write(CHUNK);
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOSPC") throw error;
    } finally {
      await file.close();
    }
  }

  async free(): Promise<void> {
    await writeFile(join(this.#inside, "filler"), "");
  }

  async stop(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, "exit");
    await rm(this.#dir, { recursive: true, force: true });
  }
}
