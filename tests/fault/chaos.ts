/**
 * The long fault run: `npm run chaos`. First CHAOS_FAULTS (default 20) kills and as many freezes of one of three nodes that hold
 * 1,000 live actors under load, then a storm of all faults for CHAOS_SECONDS (default 240); FAULT_SEED repeats a run. Prints one
 * JSON line per fault with the gap until the next good answer, and a summary. Invariant: exits 1 if the auditors object.
 */
import { Bank } from "./support/bank.ts";
import { FaultCluster } from "./support/cluster.ts";
import { CounterLoad } from "./support/counters.ts";
import { type Fault, inflict } from "./support/faults.ts";
import { type Random, seeded, seedOfRun } from "./support/random.ts";
import { storm, type Struck } from "./support/storm.ts";

const NODES = 3;
const KEYS = 1_000;
const CALLS_PER_SECOND = 500;
/** A killed node is started again after this, in ms. */
const RESTART_MS = 500;
/** A frozen node sleeps this long, in ms: others have taken over when it wakes. */
const FREEZE_MS = 3_000;

const faults = Number(process.env["CHAOS_FAULTS"] ?? 20);
const seconds = Number(process.env["CHAOS_SECONDS"] ?? 240);
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

/** Kills and freezes in turn under a steady load, each once the cluster is whole again. True: nothing lost, doubled or failed. */
async function program(cluster: FaultCluster, random: Random): Promise<boolean> {
  const struck: Struck[] = [];
  const load = new CounterLoad(cluster, random.fork("steady"), { keys: KEYS });
  await load.touchAll();
  load.pace(CALLS_PER_SECOND);
  let refused = 0;
  for (let i = 0; i < 2 * faults; i++) {
    const { name } = random.pick(cluster.nodes);
    const isKill = i % 2 === 0;
    const before = (await cluster.infoOf(name))?.incarnation;
    const fault: Fault = { kind: isKill ? "kill" : "freeze", node: name, forMs: isKill ? RESTART_MS : FREEZE_MS };
    const gapMs = await inflict(cluster, fault, `probe-${i}`);
    struck.push({ fault, gapMs });
    print({ ...fault, gapMs });
    const after = (await cluster.untilWhole()).find((info) => info.name === name)?.incarnation;
    if (!isKill && after !== before) refused++;
  }
  const { acked, unknown, errors, lost, doubled, slowestMs, breaches } = await load.finish();
  const gaps = gapsByKind(struck);
  print({ run: "program", seed, gaps, wokenOwnersRefused: refused, acked, unknown, lost, doubled, slowestMs, errors });
  return unknown === 0 && breaches.length === 0 && refused === faults;
}

print({ run: "chaos", seed, faults, seconds });
const cluster = await FaultCluster.start(NODES);
let isGood = false;
try {
  const random = seeded(seed);
  const isOrderly = await program(cluster, random.fork("program"));
  const load = new CounterLoad(cluster, random.fork("load"), { keys: KEYS });
  const bank = new Bank(cluster, random.fork("bank"), 50);
  await Promise.all([bank.open(), load.adoptExisting()]);
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
    isOrderly &&
    isCounted &&
    money.total === money.expectedTotal &&
    money.received === money.sent &&
    money.sent === money.transfers &&
    money.breaches.length === 0;
  const { lost, doubled } = counters;
  print({ run: "chaos", seed, good: isGood, lost, doubled, gaps: gapsByKind(struck), counters, money });
  if (!isGood) console.error(cluster.logs(200));
} catch (error) {
  console.error(error, cluster.logs(200));
} finally {
  await cluster.stop();
}
process.exitCode = isGood ? 0 : 1;
