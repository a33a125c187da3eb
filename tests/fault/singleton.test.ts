/**
 * The cluster's one clerk while its node is killed and frozen. Invariant: what it does outside is refused by its token as soon as a newer
 * owner was heard, so that at no moment two are obeyed.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { SINGLETON_ID } from "../../runtime/define-actor.ts";
import { FaultCluster } from "./support/cluster.ts";
import type { NodeProcess, Told } from "./support/node-process.ts";
import { until } from "./support/wait.ts";

/** Faults of each kind. */
const ROUNDS = 4;
/** The next act of another node comes within this, in ms: a frozen node is found silent in 1.2 to 1.4 s. */
const HEAL_MS = 10_000;
/** So many acts show that the new owner is at work. */
const ACTS = 10;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start(2, { script: new URL("./workers/clerk-node.ts", import.meta.url) });
});
afterAll(() => cluster.stop());

/** All acts in the order in which they arrived: this process is the register that they are for. */
const acts = (): readonly Told[] =>
  cluster.nodes.flatMap(({ told }) => told.filter(({ token }) => token !== undefined)).sort((a, b) => a.atMs - b.atMs);

const homeOf = async (): Promise<NodeProcess> => cluster.node((await cluster.client.query("clerk", SINGLETON_ID)).node);

/** Waits until a process other than `former` has acted often; returns how long it took. */
async function untilMoved(former: number, startedAtMs: number): Promise<number> {
  const others = () => acts().filter(({ pid, atMs }) => pid !== former && atMs > startedAtMs);
  await until("another node to act", HEAL_MS, () => others().length >= ACTS);
  return (others()[0] as Told).atMs - startedAtMs;
}

test("exactly one clerk is obeyed, through SIGKILL and SIGSTOP of its node", async () => {
  const gaps: string[] = [];
  for (let round = 0; round < 2 * ROUNDS; round++) {
    const isKill = round % 2 === 0;
    const home = await homeOf();
    const { pid } = home;
    await until("the clerk to act", HEAL_MS, () => acts().at(-1)?.pid === pid);
    const startedAtMs = performance.now();
    if (isKill) await home.kill();
    else home.freeze();
    gaps.push(`${isKill ? "kill" : "freeze"} ${Math.round(await untilMoved(pid, startedAtMs))}`);
    if (isKill) await home.start();
    else home.thaw();
    await cluster.untilWhole();
  }
  const seen = acts();
  let highest = 0;
  let refused = 0;
  const pids = new Map<number, number>();
  for (const { token = 0, pid } of seen) {
    if (token < highest) refused++;
    highest = Math.max(highest, token);
    expect(pids.get(token) ?? pid, `token ${token} has one owner`).toBe(pid);
    pids.set(token, pid);
  }
  const obeyed = seen.length - refused;
  console.log(`clerk: ms to the next act: ${gaps.join(", ")}; acts obeyed ${obeyed}, late and refused ${refused}`);
  expect(pids.has(0), "nobody acts without a token").toBe(false);
  expect(pids.size).toBeGreaterThanOrEqual(2 * ROUNDS);
  expect(refused).toBeLessThan(obeyed / ACTS);
});
