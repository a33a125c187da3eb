/** Timers and invocations through a kill. Invariant: started work ends on another node under the same id; a timer fires once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster, HEAL_DEADLINE_MS } from "./support/cluster.ts";
import { alarm, counter, job } from "./support/kinds.ts";
import { pass, until } from "./support/wait.ts";

/** Longer than a node may act without its lease, shorter than the lease, in ms; the last renewal is up to 400 ms older. */
const SHORT_PAUSE_MS = 1_550;

let cluster: FaultCluster;
beforeAll(async () => {
  cluster = await FaultCluster.start();
});
afterAll(() => cluster.stop());

const contextOf = async <T>(kind: string, id: string): Promise<T> =>
  (await cluster.client.query(kind, id)).context as T;
const invokedOf = (id: string) =>
  cluster.nodes.flatMap((node) => node.told).filter((told) => told.invoked?.startsWith(`job/${id}:`));

test("an invocation whose node is killed ends elsewhere under the same id", async () => {
  await cluster.untilWhole();
  const id = await cluster.idOn("n1", job.kind, "inv");
  await cluster.client.tell(job, id, { type: "START" });
  await until("the work to start", HEAL_DEADLINE_MS, () => invokedOf(id).length === 1);
  await cluster.node("n1").kill();
  await until(
    "the work to end",
    HEAL_DEADLINE_MS,
    async () => (await cluster.client.query(job, id)).value === "finished",
  );
  const starts = invokedOf(id);
  expect(new Set(starts.map((told) => told.pid)).size).toBe(2);
  expect(new Set(starts.map((told) => told.invoked)).size).toBe(1);
  expect(await contextOf(job.kind, id)).toMatchObject({ failures: 0, result: { session: starts[0]?.invoked } });
  await until(
    "the job's message",
    HEAL_DEADLINE_MS,
    async () => (await contextOf<{ n: number }>(counter.kind, `jobs-${id}`)).n === 1,
  );
  await cluster.node("n1").start();
});

test("a timer whose node is killed fires once", async () => {
  await cluster.untilWhole();
  const id = await cluster.idOn("n1", alarm.kind, "alarm");
  await cluster.client.tell(alarm, id, { type: "SET" });
  await cluster.node("n1").kill();
  await cluster.node("n1").start();
  await until("the alarm", HEAL_DEADLINE_MS, async () => (await cluster.client.query(alarm, id)).value === "rung");
  // The shard moves back to the restarted node: nothing may ring there again.
  await cluster.untilWhole();
  await until(
    "the alarm's message",
    HEAL_DEADLINE_MS,
    async () => (await contextOf<{ n: number }>(counter.kind, `rings-${id}`)).n >= 1,
  );
  expect(await contextOf(alarm.kind, id)).toMatchObject({ rings: 1 });
  expect(await contextOf(counter.kind, `rings-${id}`)).toEqual({ n: 1 });
  const fired = (await cluster.client.history(alarm.kind, id)).filter((entry) =>
    entry.event.type.startsWith("xstate.after"),
  );
  expect(fired).toHaveLength(1);
});

test("an invocation survives a pause of its node that is shorter than the lease", async () => {
  await cluster.untilWhole();
  const id = await cluster.idOn("n1", job.kind, "pause");
  await cluster.client.tell(job, id, { type: "START" });
  await until("the work to start", HEAL_DEADLINE_MS, () => invokedOf(id).length === 1);
  cluster.node("n1").freeze();
  await pass(SHORT_PAUSE_MS);
  cluster.node("n1").thaw();
  const ended = await until("the work to end", HEAL_DEADLINE_MS, async () => {
    const { value } = await cluster.client.query(job, id);
    return value !== "working" && value;
  });
  expect(ended).toBe("finished");
});
