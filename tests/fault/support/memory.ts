/** What a process takes. Invariant: of another process the kernel tells, so that a frozen one is told of as well. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const BYTES_PER_MIB = 1_024 ** 2;

/** Memory of a process that lies in RAM, in MiB. */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kib) / 1_024);
}

/** What this process still refers to, in MiB: that of a load's own process, which leaves much to the collector. */
export function liveMiB(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return Math.round((heapUsed + external) / BYTES_PER_MIB);
}
