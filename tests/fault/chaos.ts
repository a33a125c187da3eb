/**
 * The long fault run: `npm run chaos`. CHAOS_SECONDS (default 300) and FAULT_SEED are read from the environment. Prints one
 * JSON line per fault with the gap until the next good answer, and a summary. Invariant: exits 1 if the auditors object.
 */
import { Bank } from "./support/bank.ts";
import { FaultCluster } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { storm, type Struck } from "./support/storm.ts";

const seconds = Number(process.env["CHAOS_SECONDS"] ?? 300);
const seed = seedOfRun();
const print = (line: object) => console.log(JSON.stringify(line));

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

function gapsByKind(
  struck: readonly Struck[],
): Record<string, { count: number; p50Ms: number; p99Ms: number; maxMs: number }> {
  const kinds = [...new Set(struck.map(({ fault }) => fault.kind))].sort();
  return Object.fromEntries(
    kinds.map((kind) => {
      const gaps = struck
        .filter(({ fault }) => fault.kind === kind)
        .map(({ gapMs }) => gapMs)
        .sort((a, b) => a - b);
      return [
        kind,
        { count: gaps.length, p50Ms: quantile(gaps, 0.5), p99Ms: quantile(gaps, 0.99), maxMs: gaps.at(-1) ?? 0 },
      ];
    }),
  );
}

print({ run: "chaos", seed, seconds });
const cluster = await FaultCluster.start();
let isGood = false;
try {
  const random = seeded(seed);
  const load = new CounterLoad(cluster, random.fork("load"), { keys: 1_000 });
  const bank = new Bank(cluster, random.fork("bank"), 50);
  await bank.open();
  load.start(32, { reads: true });
  bank.start(8);
  const struck = await storm(cluster, random.fork("storm"), {
    kinds: ["kill", "kill", "freeze", "freeze", "kill-all", "kill-server"],
    faults: Number.POSITIVE_INFINITY,
    forMs: seconds * 1_000,
    pauseMs: 2_000,
    print,
  });
  const [counters, money] = [await load.finish(), await bank.finish()];
  const isCounted = counters.breaches.length === 0 && counters.unknown === 0;
  isGood =
    isCounted &&
    money.total === money.expectedTotal &&
    money.received === money.sent &&
    money.sent === money.transfers &&
    money.breaches.length === 0;
  print({ run: "chaos", seed, good: isGood, gaps: gapsByKind(struck), counters, money });
  if (!isGood) console.error(cluster.logs(200));
} catch (error) {
  console.error(error, cluster.logs(200));
} finally {
  await cluster.stop();
}
process.exitCode = isGood ? 0 : 1;
