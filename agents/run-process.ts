/**
 * A command that a skill or a driver runs, as a process group of its own. Invariant: it settles only once no process of the group is
 * left, however it ends; a process of ours that is killed takes its groups with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { type Clock, sleep } from "../runtime/clock.ts";
import { AbortedError } from "../runtime/errors.ts";
import { ProcessNotStartedError } from "./errors.ts";

/** How long a group may tidy up between SIGTERM and SIGKILL, in ms. Who takes a lock over waits five times as long for the word that all stopped. */
export const STOP_GRACE_MS = 1_000;
/** Pause between two looks at a group that is ending, in ms. */
const LOOK_MS = 20;
/** Kept of each of stdout and stderr, in bytes: the end, where the cause of a failure stands. */
export const OUTPUT_MAX_BYTES = 64 * 1_024;
/** How long the pipes of a group that is gone may take to be read to their end, in ms: one that left it may hold them for ever. */
const PIPES_MS = 200;
/** Reads the group's number and then a last word from us: a pipe that ends without one means that we are dead. */
const GUARD = 'read -r group && { read -r _ || kill -s KILL -- "-$group"; }';

export interface ProcessOptions {
  readonly cwd?: string;
  /** Default: the node's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** What it reads on stdin. */
  readonly input?: string;
}

export interface ProcessResult {
  /** Null: a signal ended it. */
  readonly exitCode: number | null;
  readonly killedBy: string | null;
  /** The last {@link OUTPUT_MAX_BYTES}. */
  readonly stdout: string;
  readonly stderr: string;
  /** What came before these, in bytes. */
  readonly droppedBytes: number;
}

/**
 * Runs a command to its end. When the signal fires, and for what the command leaves behind, the whole group gets SIGTERM, and
 * SIGKILL after {@link STOP_GRACE_MS}. What makes itself a session of its own (`setsid`, daemons) is out of reach.
 * @throws {AbortedError} The signal fired. Nothing of the group runs any more.
 * @throws {ProcessNotStartedError} There is no such command, or it may not be run, or not with these arguments: nothing was done.
 */
export async function runProcess(
  { signal, clock }: { readonly signal: AbortSignal; readonly clock: Clock },
  [command, ...args]: readonly [string, ...string[]],
  { input = "", ...options }: ProcessOptions = {},
): Promise<ProcessResult> {
  const aborted = () => new AbortedError(`The command "${command}" was aborted`, { cause: signal.reason });
  if (signal.aborted) throw aborted();
  const guard = spawn("/bin/sh", ["-c", GUARD], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  if (guard.pid === undefined) throw new ProcessNotStartedError("/bin/sh", { cause: await failureOf(guard) });
  ignoreBrokenPipe(guard);
  const notStarted = (cause: unknown) => {
    guard.stdin.end();
    return new ProcessNotStartedError(command, { cause });
  };
  let child;
  try {
    child = spawn(command, args, { ...options, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  } catch (cause) {
    throw notStarted(cause); // words that no command takes, or more than the kernel takes
  }
  ignoreBrokenPipe(child);
  const { pid } = child;
  if (pid === undefined) throw notStarted(await failureOf(child));
  guard.stdin.write(`${pid}\n`);
  const exit = once(child, "exit") as Promise<[number | null, string | null]>;
  const closed = once(child, "close");
  const [stdout, stderr] = [new Tail(child.stdout), new Tail(child.stderr)];
  child.stdin.end(input);
  let ending: Promise<void> | undefined;
  const onAbort = () => void (ending ??= endGroup(pid, clock));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const [exitCode, killedBy] = await exit;
    await (ending ??= endGroup(pid, clock)); // also what it left behind
    await Promise.race([closed, sleep(clock, PIPES_MS)]);
    if (signal.aborted) throw aborted();
    const output = { stdout: stdout.read(), stderr: stderr.read() };
    return { exitCode, killedBy, ...output, droppedBytes: stdout.droppedBytes + stderr.droppedBytes };
  } finally {
    signal.removeEventListener("abort", onAbort);
    guard.stdin.end("over\n");
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

const failureOf = async (child: ChildProcess): Promise<unknown> => ((await once(child, "error")) as [unknown])[0];

/** Whoever ends without reading what it was sent is no failure of ours: its exit tells. */
function ignoreBrokenPipe({ stdin }: ChildProcess): void {
  stdin?.on("error", () => undefined);
}

/** Resolves once no process of the group lives. One that the kernel does not let die is waited for: nobody may be told otherwise. */
async function endGroup(pgid: number, clock: Clock): Promise<void> {
  if (!isGroupAlive(pgid)) return;
  signalGroup(pgid, "SIGTERM");
  const killAtMs = clock.monotonic() + STOP_GRACE_MS;
  for (let isKilled = false; isGroupAlive(pgid); await sleep(clock, LOOK_MS)) {
    if (isKilled || clock.monotonic() < killAtMs) continue;
    isKilled = true;
    signalGroup(pgid, "SIGKILL");
  }
}

/** False: there is no such group. */
function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pgid, signal);
  } catch (error) {
    // EPERM: a process of another user is in it, so it is there.
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

function isGroupAlive(pgid: number): boolean {
  if (!signalGroup(pgid, 0)) return false;
  if (process.platform !== "linux") return true;
  // Under an init that collects nobody, as in many containers, the dead stay in their group.
  return readdirSync("/proc").some((name) => /^\d+$/.test(name) && isLiveMember(name, pgid));
}

function isLiveMember(pid: string, pgid: number): boolean {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return false; // it ended meanwhile
  }
  // `pid (name) state ppid pgrp …`; a name may hold anything.
  const [state, , group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return group === String(pgid) && state !== "Z" && state !== "X";
}

/** The end of a stream. */
class Tail {
  droppedBytes = 0;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(stream: Readable) {
    stream.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      if (this.#bytes > 2 * OUTPUT_MAX_BYTES) this.#trim(); // not at each chunk: a copy of all
    });
  }

  read(): string {
    this.#trim();
    return this.#chunks.map(String).join("");
  }

  #trim(): void {
    const all = Buffer.concat(this.#chunks);
    const tail = all.subarray(-OUTPUT_MAX_BYTES);
    this.droppedBytes += all.length - tail.length;
    this.#chunks = [tail];
    this.#bytes = tail.length;
  }
}
