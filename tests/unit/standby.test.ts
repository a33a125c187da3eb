/** A warm standby in a cluster on the in-memory server. Invariant: what it gathered is used where it is sure, and the state is the same. */
import pino from "pino";
import { expect, test } from "vitest";
import { assign, setup } from "xstate";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { clientOn } from "../../runtime/client.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { CHECKPOINT_EVERY_MS, SNAPSHOT_AFTER_MS } from "../../runtime/limits.ts";
import { startNodeOn } from "../../runtime/node.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { seeded } from "../fault/support/random.ts";
import { ProcessClock } from "../simulation/process-clock.ts";

const NAMESPACE = "standby";
const ACTORS = 40;
/** Longer than a start, a takeover or a call. */
const A_WHILE_MS = 3_000;

const counter = (version: number): ActorKind =>
  defineActor({
    kind: "counter",
    version,
    migrate: (stored) => stored,
    machine: setup({ types: { context: {} as { n: number }, events: {} as { type: "ADD" } } }).createMachine({
      context: { n: 0 },
      on: { ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
    }),
  });

/** Two nodes, the second of `version`, and 40 counters that took an input twice; then the first is killed. */
async function killOwner({ standby, version }: { readonly standby: boolean; readonly version: number }) {
  const clock = new SimClock({ seed: 5 });
  const names = makeNames({ namespace: NAMESPACE });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const told: { readonly msg: string; readonly shadowed?: number }[] = [];
  const log = pino({ level: "info" }, { write: (line) => void told.push(JSON.parse(line) as (typeof told)[number]) });
  const start = async (name: string, kind: ActorKind) => {
    const own = new ProcessClock(clock, seeded(1).fork(name));
    const broker = world.connect(name, { clock: own });
    const starting = startNodeOn(broker, { name, kinds: [kind], namespace: NAMESPACE, clock: own, standby, log });
    await clock.advanceAsync(A_WHILE_MS);
    await starting;
    return () => {
      own.die();
      broker.kill();
    };
  };
  const kill = await start("n1", counter(1));
  await start("n2", counter(version));
  const client = clientOn(world.connect("client"), names, 64, clock);
  const addAll = async () => {
    const calls = Promise.all(
      Array.from({ length: ACTORS }, (_, i) => client.ask("counter", `c${i}`, { type: "ADD" })),
    );
    await clock.advanceAsync(A_WHILE_MS);
    return await calls;
  };
  await addAll();
  // Until what the first owner of all gave away is covered, so that each record names one journal.
  await clock.advanceAsync(SNAPSHOT_AFTER_MS + 2 * CHECKPOINT_EVERY_MS);
  await addAll();
  kill();
  await clock.advanceAsync(A_WHILE_MS);
  const views = (await addAll()) as { readonly context: { readonly n: number } }[];
  const counts = views.map(({ context }) => context.n);
  return { counts, shadowed: told.findLast(({ msg }) => msg === "Took over shards")?.shadowed };
}

test("a standby takes its shadows over", async () => {
  const { counts, shadowed } = await killOwner({ standby: true, version: 1 });
  expect(new Set(counts)).toEqual(new Set([3]));
  expect(shadowed).toBeGreaterThan(0);
});

test("a node that is none has nothing to take over", async () => {
  const { counts, shadowed } = await killOwner({ standby: false, version: 1 });
  expect(new Set(counts)).toEqual(new Set([3]));
  expect(shadowed).toBe(0);
});

test("what another version of a kind took is left to recovery, which warns", async () => {
  const { counts, shadowed } = await killOwner({ standby: true, version: 2 });
  expect(new Set(counts)).toEqual(new Set([3]));
  expect(shadowed).toBe(0);
});
