/** Crews through both doors: who can do what, where they are, what waits. */
import { expect, test } from "vitest";
import { crewKind } from "../../actors/crew.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";
import { nodeInfo, openDoor } from "../support/gateway.ts";
import { cli, viewOf } from "./cli-support.ts";

const needs = [{ name: "fly", version: "^2.0.0" }];

/** One busy worker that can scan, one hired that has not come, and work that only a flier could do. */
function crew(): DrivenActor {
  return new DrivenActor(crewKind, "night")
    .send({ type: "declare", plan: { worker: "hand", min: 2, max: 2 } })
    .send({ type: "enlist", capabilities: [{ name: "scan", version: "1.4.0" }], slots: 1 }, "hand/night:0")
    .send({ type: "submit", work: { id: "a", data: 1 } }, "task/x")
    .send({ type: "submit", work: { id: "b", data: 1 } }, "task/x")
    .send({ type: "submit", work: { id: "c", data: 1, needs } }, "task/x");
}

test("/api/crews shows workers where they are now, what waits, why, and for how long", async () => {
  const { send, far } = await openDoor();
  const { value, context } = crew();
  far.add("crew", "night", value, context).add("hand", "night:0", "working", {});
  far.nodes = [{ ...nodeInfo("n1"), kinds: ["crew", "hand"] }];
  const { items } = (await send({ url: "/api/crews" })).json<{ items: { oldestWaitMs: number }[] }>();
  expect(items).toMatchObject([
    {
      id: "night",
      state: "serving",
      problem: null,
      assignment: "QUEUED",
      min: 2,
      max: 2,
      workers: [
        { id: "hand/night:0", state: "busy", running: 1, slots: 1, node: "n1" },
        { id: "hand/night:1", state: "hired", running: 0, capabilities: [], node: null },
      ],
      running: 1,
      queued: 1,
      unfit: { total: 1, first: [{ id: "c", needs }] },
      decisions: [{ from: 0, to: 2 }],
    },
  ]);
  expect(items[0]?.oldestWaitMs).toBeGreaterThan(0);
  expect((await send({ url: "/api/crews/night" })).json()).toMatchObject({ id: "night", queued: 1 });
});

const UNHOSTED =
  'No node that is up hosts the kind "hand": start one that does, or declare the crew with another worker';

test("/api/crews says why a crew hires nobody", async () => {
  const { send, far } = await openDoor();
  const { value, context } = crew();
  far.add("crew", "night", value, context);
  far.nodes = [{ ...nodeInfo("n1"), kinds: ["crew"] }];
  expect((await send({ url: "/api/crews/night" })).json()).toMatchObject({ problem: UNHOSTED });
});

test.each([
  ["scan", 1],
  ["scan@^1.2.0", 1],
  ["scan@^2.0.0", 0],
  ["fly", 0],
])("/api/crews?can=%s finds %i crews", async (can, count) => {
  const { send, far } = await openDoor();
  const { value, context } = crew();
  far.add("crew", "night", value, context);
  const { items } = (await send({ url: `/api/crews?can=${encodeURIComponent(can)}` })).json<{
    items: { workers: [] }[];
  }>();
  expect(items).toHaveLength(count);
  for (const { workers } of items) expect(workers).toHaveLength(1);
});

test("/api/crews refuses what is no capability", async () => {
  const { send } = await openDoor();
  const answer = await send({ url: "/api/crews?can=scan@new" });
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, "BAD_QUERY"]);
});

const { value, context } = crew();
const client = {
  list: async (kind: string) =>
    kind === "crew" ? [{ kind, id: "night", node: "n1" }] : [{ kind, id: "night:0", node: "n2" }],
  nodes: async () => [{ ...nodeInfo("n1"), kinds: ["crew", "hand"] }],
  query: async () => viewOf({ kind: "crew", id: "night", value, context, updatedAtMs: START_MS }),
};

test("`crews` prints crews and their workers, all or those that can do something", async () => {
  const { out } = await cli(["crews"], { client });
  expect(out).toContain("night  serving  LEAST_BUSY  QUEUED      2 (2 to 2)        1       1      1");
  expect(out).toMatch(/hand\/night:0 +busy +1 of 1 +scan@1\.4\.0 +n2\n/);
  expect(out).toMatch(/hand\/night:1 +hired +0 of 1 +- +-\n/);
  const { crews } = JSON.parse((await cli(["crews", "--json", "--can", "scan@~1.4.0"], { client })).out) as {
    crews: { workers: { id: string }[] }[];
  };
  expect(crews.map(({ workers }) => workers.map(({ id }) => id))).toEqual([["hand/night:0"]]);
});

test("`crews` says why a crew hires nobody", async () => {
  const nodes = async () => [{ ...nodeInfo("n1"), kinds: ["crew"] }];
  expect((await cli(["crews"], { client: { ...client, nodes } })).out).toContain(UNHOSTED);
});

test("`crews` says when there is none, and what is no capability", async () => {
  expect((await cli(["crews"], { client: { list: async () => [] } })).out).toContain("There is no crew");
  const wrong = await cli(["crews", "--can", "scan@new"], { client });
  expect([wrong.exit, wrong.err]).toEqual([2, expect.stringContaining('"scan@new" is no capability')]);
});
