/** What a process takes. Invariant: read from the kernel, so that a frozen process tells as well. */
import { readFileSync } from "node:fs";

/** Memory of a process that lies in RAM, in MiB. */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kib) / 1_024);
}
