/**
 * Tells processes apart across restarts of either side. Invariant: a pid counts as the recorded process only with the same
 * start time, so a recycled pid is never taken for it, nor signalled.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in the system's own words: only ever compared for equality. */
  readonly startedAt: string;
}

/** Position of the start time among the fields of /proc/<pid>/stat after the command's closing parenthesis. */
const START_TIME_FIELD = 19;

function fromProc(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  // A zombie runs no code and holds no file: it is dead for us.
  return fields[0] === "Z" ? undefined : `${boot}/${fields[START_TIME_FIELD]}`;
}

function fromPs(pid: number): string | undefined {
  const { stdout, error } = spawnSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], { encoding: "utf8" });
  if (error !== undefined) throw error;
  const line = stdout.trim();
  return line === "" || line.startsWith("Z") ? undefined : line.replace(/^\S+\s+/, "");
}

/** The process that has `pid` now, or undefined. */
export function identify(pid: number): ProcessIdentity | undefined {
  let startedAt: string | undefined;
  try {
    startedAt = process.platform === "linux" ? fromProc(pid) : fromPs(pid);
  } catch (error) {
    // ESRCH: it ended between open and read.
    if (!["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether the recorded process still runs. */
export function isAlive(recorded: ProcessIdentity): boolean {
  return identify(recorded.pid)?.startedAt === recorded.startedAt;
}

/** Sends `signal` if the recorded process still runs; whether it did. */
export function signalProcess(recorded: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(recorded)) return false;
  try {
    return process.kill(recorded.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
