/** A disk that fills up under load. Invariant: callers are refused, memory is bounded, and all goes on by itself when there is room. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { FaultCluster, HEAL_DEADLINE_MS } from "../fault/support/cluster.ts";
import { CounterLoad } from "../fault/support/counters.ts";
import { counter } from "../fault/support/kinds.ts";
import { residentMiB } from "../fault/support/memory.ts";
import { seeded, seedOfRun } from "../fault/support/random.ts";
import { SmallDisk } from "./small-disk.ts";
import { until } from "../fault/support/wait.ts";

const LANES = 16;
/** A call under a full disk is given up after this, in ms. */
const CALL_MS = 1_000;
/** Calls that are refused before there is room again. */
const REFUSALS = 200;
/** More than a node's mailboxes and rounds may hold would show as more than this, in MiB. */
const MEMORY_SLACK_MIB = 100;

let disk: SmallDisk;
let cluster: FaultCluster;
beforeAll(async () => {
  disk = await SmallDisk.start();
  cluster = await FaultCluster.start(2, { server: disk });
});
afterAll(() => cluster.stop());

test("calls are refused while the disk is full, reads are answered or said to be stale, and both go on when there is room", async () => {
  const load = new CounterLoad(cluster, seeded(seedOfRun()), { keys: 200 });
  load.start(LANES);
  await until("the load to run", HEAL_DEADLINE_MS, () => load.acked > 500);
  expect(await load.finish()).toMatchObject({ unknown: 0, breaches: [] });

  const before = cluster.nodes.map(({ pid }) => residentMiB(pid));
  await cluster.client.ask(counter, "read", { type: "INC", by: 1 });
  await disk.fill();
  const codes: Record<string, number> = {};
  const refused = async (lane: number) => {
    for (let i = 0; i < REFUSALS / LANES; i++) {
      const call = cluster.client.ask(counter, `full-${lane}-${i}`, { type: "INC", by: 1 }, { deadlineMs: CALL_MS });
      const code = await call.then(
        () => "taken",
        (error: { code: string }) => error.code,
      );
      codes[code] = (codes[code] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, lane) => refused(lane)));
  const view = await cluster.client.query(counter, "read", { allowStale: true });
  const after = cluster.nodes.map(({ pid }) => residentMiB(pid));

  const freedAt = performance.now();
  await disk.free();
  await until("calls to be taken again", HEAL_DEADLINE_MS, () =>
    cluster.client.ask(counter, "after", { type: "INC", by: 1 }, { deadlineMs: CALL_MS }).then(
      () => true,
      () => false,
    ),
  );
  const resumedMs = Math.round(performance.now() - freedAt);
  console.log(JSON.stringify({ test: "disk-full", codes, stale: view.stale ?? false, before, after, resumedMs }));
  expect(Object.keys(codes).toSorted()).toEqual(expect.arrayContaining(["BUSY"]));
  expect(view.context).toEqual({ n: 1 });
  for (const [i, mib] of after.entries()) expect(mib).toBeLessThan((before[i] as number) + MEMORY_SLACK_MIB);
  await cluster.untilWhole();
  const again = new CounterLoad(cluster, seeded(seedOfRun()), { keys: 200 });
  await again.adoptExisting();
  again.start(LANES, { reads: true });
  await until("the load to go on", HEAL_DEADLINE_MS, () => again.acked > 500);
  expect(await again.finish()).toMatchObject({ unknown: 0, breaches: [] });
});
