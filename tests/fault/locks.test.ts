/**
 * 50 contenders on 10 resources while nodes are killed and frozen. Invariant checked: no door lets an older token in after a newer
 * one, every token is one holder's, and every grant is announced once and ends once, with a reason.
 * FAULT_SECONDS makes it longer.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ResourceContext } from "../../actors/resource-state.ts";
import { FaultCluster } from "./support/cluster.ts";
import { Arena, CONTENDER_TTL_MS } from "./support/contender.ts";
import { drawFault, strike } from "./support/faults.ts";
import { readNews } from "./support/job-books.ts";
import { seeded, seedOfRun } from "./support/random.ts";
import { pass, until } from "./support/wait.ts";

const SECONDS = Number(process.env["FAULT_SECONDS"] ?? 12);
const CONTENDERS = 50;
const RESOURCES = Array.from({ length: 10 }, (_, i) => `arena:d${i}`);
/** Quiet time between two faults at most. */
const PAUSE_MAX_MS = 1_000;
const QUIET_MS = 60_000;
/** Start and end of the contenders' last lives, and twice the quiet. */
const TIMEOUT_MS = SECONDS * 1_000 + 3 * QUIET_MS;
const ENDS = [
  "resource.released",
  "resource.expired",
  "resource.preempted",
  "resource.taken_over",
  "resource.host_lost",
];

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start(2, { script: new URL("./workers/system-node.ts", import.meta.url) });
});
afterAll(async () => {
  await cluster.stop();
});

test("no two contenders drive one resource, and each grant ends once, whatever is killed or frozen", {
  timeout: TIMEOUT_MS,
}, async () => {
  const seed = seedOfRun();
  console.log(JSON.stringify({ test: "locks", seed }));
  const random = seeded(seed);
  const { client } = cluster;
  const arena = new Arena(client, RESOURCES);
  let isOver = false;
  const contenders = Array.from({ length: CONTENDERS }, (_, i) =>
    arena.contend(`c${i}`, random.fork(`c${i}`), () => isOver),
  );
  const kinds = ["kill", "freeze", "kill-server"] as const;
  const storm = random.fork("storm");
  const names = cluster.nodes.map(({ name }) => name);
  const endAt = performance.now() + SECONDS * 1_000;
  let struck = 0;
  for (; performance.now() < endAt; struck++) {
    await strike(cluster, drawFault(storm, names, kinds));
    await pass(storm.int(0, PAUSE_MAX_MS));
  }
  isOver = true;
  await Promise.all(contenders);
  const locks = await until("all locks to be free", QUIET_MS, async () => {
    const all = await Promise.all(
      RESOURCES.map(async (id) => (await client.query("resource", id)).context as ResourceContext),
    );
    return all.every(({ holders, queue }) => holders.length === 0 && queue.length === 0) && all;
  });
  const breaches = [...arena.breaches, ...auditActs(arena)];
  // The news of the last end may still be on its way.
  await until("all news", QUIET_MS, async () => auditNews(await readNews(client), locks).length === 0).catch(
    () => undefined,
  );
  breaches.push(...auditNews(await readNews(client), locks));
  const tokens = locks.reduce((sum, { token }) => sum + token, 0);
  console.log(
    JSON.stringify({
      test: "locks",
      seed,
      faults: struck,
      tokens,
      ttlMs: CONTENDER_TTL_MS,
      ...arena.counts,
      breaches,
    }),
  );
  expect(breaches).toEqual([]);
  expect(arena.counts.overslept).toBeGreaterThan(0);
  expect(tokens).toBeGreaterThan(CONTENDERS);
});

function auditActs({ acts, granted }: Arena): string[] {
  const highest = new Map<string, number>();
  return acts.flatMap(({ resource, token, holder }) => {
    const top = highest.get(resource) ?? 0;
    highest.set(resource, Math.max(top, token));
    const old = token < top ? [`${resource} was driven under ${token} after ${top}`] : [];
    return granted.has(`${resource} ${token}`)
      ? old
      : [...old, `${resource} was driven under ${token}, granted to ${holder}`];
  });
}

function auditNews(news: Awaited<ReturnType<typeof readNews>>, locks: readonly ResourceContext[]): string[] {
  return locks.flatMap(({ resource, token: last, history }) => {
    const own = news.filter(({ data }) => data["resource"] === resource);
    const tokensOf = (isType: (type: string) => boolean) =>
      own.filter(({ type }) => isType(type)).map(({ data }) => data["token"]);
    const all = Array.from({ length: last }, (_, i) => i + 1);
    const breaches: string[] = [];
    // Once each, and in order.
    if (JSON.stringify(tokensOf((type) => type === "resource.granted")) !== JSON.stringify(all))
      breaches.push(`${resource}: grants announced otherwise than 1 to ${last}`);
    if (JSON.stringify(tokensOf((type) => ENDS.includes(type))) !== JSON.stringify(all))
      breaches.push(`${resource}: ends announced otherwise than 1 to ${last}`);
    for (const { token, reason } of history)
      if (reason === null) breaches.push(`${resource}: grant ${token} has no end`);
    return breaches;
  });
}
