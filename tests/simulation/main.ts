/**
 * `npm run simulate`: one seed with its trace (`--seed 123`), or many (`--from 1 --count 5000`). Invariant: exits 1 if a law was
 * broken, after the command that shows it.
 */
import { parseArgs } from "node:util";
import { runHistory } from "./history.ts";
import { type Plant, PLANTS } from "./planted.ts";

const { values } = parseArgs({
  options: { seed: { type: "string" }, from: { type: "string" }, count: { type: "string" }, plant: { type: "string" } },
});

/** A known bug by name, to see what the auditor says. */
function plantNamed(name: string | undefined): { readonly plant?: Plant } {
  if (name === undefined) return {};
  const plant = PLANTS[name];
  if (plant === undefined)
    throw new RangeError(`No bug "${name}" is known: plant one of ${Object.keys(PLANTS).join(", ")}`);
  return { plant };
}
const planted = plantNamed(values.plant);

async function one(seed: number): Promise<boolean> {
  const report = await runHistory(seed, { ...planted, write: (line) => console.log(line) });
  console.log(JSON.stringify(report, null, 2));
  return report.breaches.length === 0;
}

async function many(from: number, count: number): Promise<boolean> {
  const startedAt = performance.now();
  const { user: userAtStart } = process.cpuUsage();
  const failed: number[] = [];
  const sums: Record<string, number> = {};
  for (let seed = from; seed < from + count; seed++) {
    const { breaches, counts } = await runHistory(seed, planted);
    for (const [name, n] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + n;
    if (breaches.length === 0) continue;
    failed.push(seed);
    console.log(`Seed ${seed}: ${breaches[0]}\n  npm run simulate -- --seed ${seed}`);
  }
  const ms = performance.now() - startedAt;
  const cpuMs = (process.cpuUsage().user - userAtStart) / 1_000;
  const rates = { ms: Math.round(ms), cpuMsEach: Math.round((10 * cpuMs) / count) / 10 };
  console.log(JSON.stringify({ from, count, failed: failed.length, ...rates, ...sums }));
  return failed.length === 0;
}

const isGood =
  values.seed === undefined
    ? await many(Number(values.from ?? 1), Number(values.count ?? 1_000))
    : await one(Number(values.seed));
process.exitCode = isGood ? 0 : 1;
