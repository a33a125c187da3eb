/**
 * `npm run bench [-- <bench> …]`: measures and prints JSON lines; asserts nothing. Three processes: this one is the client,
 * a forked node, an embedded nats-server. BENCH_ROUNDS, BENCH_RUN_MS and BENCH_WARM_MS set the length, BENCH_SYNC
 * keeps to one sync setting, BENCH_PROFILE_DIR writes a CPU profile of every worker there.
 */
import { ask64, askSeq, coldKey, query64, twoNodes } from "./calls.ts";
import { locks } from "./locks.ts";
import { firstCalls, residents } from "./crowds.ts";
import { boot, passivated, resident } from "./spans.ts";
import { tasks } from "./tasks.ts";
import type { Sync } from "./world.ts";

type Bench = (sync: Sync) => Promise<void>;

/** What is worth knowing with an fsync per acknowledgement too, and what is not. */
const BENCHES: Readonly<Record<string, { readonly run: Bench; readonly syncs: readonly Sync[] }>> = {
  "ask-seq": { run: askSeq, syncs: ["interval", "always"] },
  "ask-64": { run: ask64, syncs: ["interval", "always"] },
  "query-64": { run: query64, syncs: ["interval"] },
  "cold-key": { run: coldKey, syncs: ["interval", "always"] },
  boot: { run: boot, syncs: ["interval"] },
  passivated: { run: passivated, syncs: ["interval"] },
  resident: { run: resident, syncs: ["interval"] },
  locks: { run: locks, syncs: ["interval", "always"] },
  tasks: { run: tasks, syncs: ["interval"] },
  "first-calls": { run: firstCalls, syncs: ["interval"] },
  residents: { run: residents, syncs: ["interval"] },
  "two-nodes": { run: twoNodes, syncs: ["interval"] },
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`No bench is called ${unknown.join(", ")}: choose from ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}
for (const [name, { run, syncs }] of Object.entries(BENCHES)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  for (const sync of syncs) if ((process.env["BENCH_SYNC"] ?? sync) === sync) await run(sync);
}
