/**
 * A closed loop of callers and what is read off it. Invariant: a caller sends its next call only after the answer to the one
 * before, so latency and throughput are of one and the same load.
 */
import { busyCores, type CpuSample, type Processes, sampleCpu } from "./process.ts";

const fromEnv = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);

/** Interleaved rounds of a comparison. */
export const ROUNDS = fromEnv("BENCH_ROUNDS", 5);
/** One measured run, in ms. Longer than the age at which dirty actors are stored, so that snapshots are in the figure. */
export const RUN_MS = fromEnv("BENCH_RUN_MS", 6_000);
/** Load before each measured run, in ms. */
export const WARM_MS = fromEnv("BENCH_WARM_MS", 1_000);

export interface Loop {
  readonly concurrency: number;
  readonly call: (turn: number) => Promise<unknown>;
  readonly processes: Processes;
  readonly runMs?: number;
  readonly warmMs?: number;
}

export interface Figures {
  readonly concurrency: number;
  readonly ops: number;
  readonly seconds: number;
  readonly ops_per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Cores kept busy by each process. */
  readonly cpu: Readonly<Record<string, number>>;
  /** CPU time of each process for one operation, in µs: the figure that a busy machine disturbs least. */
  readonly cpu_us_per_op: Readonly<Record<string, number>>;
  /** Cores kept busy by anything else on the machine: above 0.25 the figures are not to be trusted. */
  readonly other_busy: number;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
export const rounded = (value: number, digits = 3): number => Number(value.toFixed(digits));

export function print(line: Readonly<Record<string, unknown>>): void {
  console.log(JSON.stringify(line));
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Keeps `concurrency` calls in flight: first to warm up, then measured. */
export async function closedLoop(loop: Loop): Promise<Figures> {
  let latencies: number[] = [];
  let turn = 0;
  let isOn = true;
  const lane = async () => {
    while (isOn) {
      const sentAt = performance.now();
      await loop.call(turn++);
      latencies.push(performance.now() - sentAt);
    }
  };
  const lanes = Promise.all(Array.from({ length: loop.concurrency }, lane));
  await Promise.race([pause(loop.warmMs ?? WARM_MS), lanes]); // a caller that fails ends the bench here
  const before = sampleCpu(loop.processes);
  latencies = [];
  await Promise.race([pause(loop.runMs ?? RUN_MS), lanes]);
  const measured = latencies;
  latencies = [];
  const after = sampleCpu(loop.processes);
  isOn = false;
  await lanes;
  return figures(loop.concurrency, measured, before, after);
}

/** `count` calls, one after the other. */
export async function sequence(
  count: number,
  processes: Processes,
  call: (turn: number) => Promise<unknown>,
): Promise<Figures> {
  const latencies: number[] = [];
  const before = sampleCpu(processes);
  for (let turn = 0; turn < count; turn++) {
    const sentAt = performance.now();
    await call(turn);
    latencies.push(performance.now() - sentAt);
  }
  return figures(1, latencies, before, sampleCpu(processes));
}

/** Median, 99th percentile and largest, in ms. */
export const spread = (name: string, values: readonly number[]): Record<string, number> => ({
  [`${name}_p50_ms`]: rounded(median(values), 1),
  [`${name}_p99_ms`]: rounded(quantile(values, 0.99), 1),
  [`${name}_max_ms`]: rounded(Math.max(...values), 1),
});

/** `count` calls, `concurrency` at a time. */
export async function each(
  count: number,
  concurrency: number,
  call: (turn: number) => Promise<unknown>,
): Promise<void> {
  let turn = 0;
  const lane = async () => {
    while (turn < count) await call(turn++);
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
}

/** Polls until `holds`. @throws After `limitMs`, naming `what`. */
export async function until(what: string, limitMs: number, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Not within ${limitMs} ms: ${what}`);
    await pause(50);
  }
}

function figures(concurrency: number, latencies: readonly number[], before: CpuSample, after: CpuSample): Figures {
  const seconds = (after.atMs - before.atMs) / 1_000;
  const { cpu, other } = busyCores(before, after);
  return {
    concurrency,
    ops: latencies.length,
    seconds: rounded(seconds),
    ops_per_s: rounded(latencies.length / seconds, 1),
    p50_ms: rounded(median(latencies)),
    p99_ms: rounded(quantile(latencies, 0.99)),
    cpu,
    cpu_us_per_op: Object.fromEntries(
      Object.entries(cpu).map(([name, cores]) => [name, rounded((cores * seconds * 1e6) / latencies.length, 1)]),
    ),
    other_busy: other,
  };
}

/** Starts `perSecond` calls each second for `runMs`, whether or not earlier ones are answered; resolves when all are. */
export async function paced(perSecond: number, runMs: number, call: (turn: number) => Promise<unknown>): Promise<void> {
  const begunAt = performance.now();
  const calls: Promise<unknown>[] = [];
  for (let spentMs = 0; spentMs < runMs; spentMs = performance.now() - begunAt) {
    while (calls.length < (Math.min(spentMs, runMs) / 1_000) * perSecond) calls.push(call(calls.length));
    await pause(PACE_MS);
  }
  await Promise.all(calls);
}

/** Between two bursts of a paced load, in ms. */
const PACE_MS = 2;
