/** Crowds on three nodes. Invariant: an actor begins once however many call it first, and a crew's work ends once though a node is killed. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { crewKind } from "../../actors/crew.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import { WORK_POOL, type WorkEnded } from "../../actors/messages/crew.ts";
import { placesOf } from "../../gateway/crews.ts";
import { connect } from "../../runtime/client.ts";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { hand, PIECE_MS, starter, tally, tallyOf } from "./support/kinds.ts";
import { until } from "./support/wait.ts";

const FIRST_CALLS = 10_000;
const WORKS = 2_000;
const CREWS = 6;
/** A worker is shown on a node that is gone no longer than this, in ms. */
const GONE_MS = 3_000;
const CALL_DEADLINE_MS = 60_000;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start(3);
});
afterAll(() => cluster.stop());

test("10,000 actors, each called first by two at once, begin once each", async () => {
  const other = await connect({ servers: cluster.server.url, namespace: cluster.client.names.namespace });
  const ids = Array.from({ length: FIRST_CALLS }, (_, i) => `f${String(i).padStart(4, "0")}`);
  const callAll = (client: typeof other) =>
    Promise.all(ids.map((id) => client.ask(starter, id, { type: "HIT" }, { deadlineMs: CALL_DEADLINE_MS })));
  const [one, two] = (await Promise.all([callAll(cluster.client), callAll(other)])) as { n: number }[][];
  const isOnce = ids.every((_, i) => (one?.[i]?.n ?? 0) + (two?.[i]?.n ?? 0) === 3);
  expect(isOnce, "of the two calls of each actor one is answered 1, the other 2").toBe(true);
  const begun: Record<string, number> = {};
  for (const id of new Set(ids.map(tallyOf))) {
    await until(`"${id}" to have heard all`, HEAL_DEADLINE_MS, async () => {
      const context = (await cluster.client.query(tally, id)).context as { begun: Record<string, number> };
      Object.assign(begun, context.begun);
      return Object.keys(context.begun).length === FIRST_CALLS / 100;
    });
  }
  expect(Object.keys(begun)).toHaveLength(FIRST_CALLS);
  expect(Object.values(begun).filter((times) => times !== 1)).toEqual([]);
  await other.close();
});

test("crews lose no work with a node that is killed, and nobody is shown there for long", async () => {
  const { client } = cluster;
  const crews = Array.from({ length: CREWS }, (_, i) => `c${i}`);
  const contexts = async () =>
    (await Promise.all(crews.map((crew) => client.query(crewKind, crew)))).map(({ context }) => context as CrewContext);
  for (const crew of crews)
    await client.ask(crewKind, crew, { type: "declare", plan: { worker: hand.kind, min: 4, max: 4 } });
  const ended = new Map<string, string>();
  client.broker.subscribe(client.names.pool(WORK_POOL, "low", "work.ended"), ({ data }) => {
    const { work, state } = (JSON.parse(Buffer.from(data).toString()) as { data: WorkEnded }).data;
    ended.set(work, state);
  });
  const submitted = Promise.all(
    Array.from({ length: WORKS }, (_, i) =>
      client.ask(
        crewKind,
        crews[i % CREWS] as string,
        { type: "submit", work: { id: `w${i}`, data: i } },
        { deadlineMs: CALL_DEADLINE_MS },
      ),
    ),
  );
  const victim = cluster.node("n2");
  await until("a quarter of the work to end, and some to have just begun on the node", HEAL_DEADLINE_MS, () => {
    const last = victim.told.findLast(({ invoked }) => invoked?.startsWith("w"));
    return ended.size > WORKS / 4 && last !== undefined && performance.now() - last.atMs < PIECE_MS / 2;
  });
  await victim.kill();
  const killedAt = performance.now();
  const views = await Promise.all(crews.map((crew) => client.query(crewKind, crew)));
  await until("no worker to be shown on the dead node", GONE_MS, async () => {
    const { nodes } = await placesOf(client, views);
    return ![...nodes.values()].includes("n2");
  });
  expect(performance.now() - killedAt).toBeLessThan(GONE_MS);
  for (const answer of await submitted) expect(answer).toMatchObject({ ok: true });
  await until("all work to end", HEAL_DEADLINE_MS, async () =>
    (await contexts()).every(({ queue, running }) => queue.length + running.length === 0),
  );
  const counts = (await contexts()).map((context) => context.counts);
  const sum = (of: (each: CrewContext["counts"]) => number) => counts.reduce((total, each) => total + of(each), 0);
  expect([sum((each) => each.accepted), sum((each) => each.done)]).toEqual([WORKS, WORKS]);
  expect(sum((each) => each.lostWorkers)).toBe(0);
  await until("the last news of it", HEAL_DEADLINE_MS, () => ended.size === WORKS);
  const pids = Map.groupBy(
    cluster.nodes.flatMap((node) => node.told.filter(({ invoked }) => invoked?.startsWith("w"))),
    ({ invoked }) => invoked,
  );
  expect(pids.size).toBe(WORKS);
  const twice = [...pids.values()].filter((told) => new Set(told.map(({ pid }) => pid)).size > 1).length;
  expect(twice, "work that was in hand on the dead node was run again").toBeGreaterThan(0);
  await victim.start();
});
