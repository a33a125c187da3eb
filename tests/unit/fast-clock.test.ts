/** A node whose wall clock is fast leaves actors to one whose clock is right. Invariant: their timers take as long as they should. */
import pino from "pino";
import { expect, test } from "vitest";
import { setup } from "xstate";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { reply } from "../../runtime/author.ts";
import { clientOn } from "../../runtime/client.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { startNodeOn } from "../../runtime/node.ts";
import { MAX_UNSETTLED_BYTES, SENDER_HORIZON_MS } from "../../runtime/limits.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { seeded } from "../fault/support/random.ts";
import { ProcessClock } from "../simulation/process-clock.ts";
import { alarmKind } from "../support/alarm.ts";

const NAMESPACE = "fast";
const FAST_MS = 3_600_000;
/** Longer than a start, a takeover or a call. */
const A_WHILE_MS = 3_000;

/** A world in which nodes start whose clocks are ahead by as much as is said. */
function worldWith(kinds: readonly ActorKind[]) {
  const clock = new SimClock({ seed: 5 });
  const names = makeNames({ namespace: NAMESPACE });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const start = async (name: string, skewMs: number) => {
    const own = new ProcessClock(clock, seeded(1).fork(name), skewMs);
    const broker = world.connect(name, { clock: own });
    const log = pino({ level: "silent" });
    const starting = startNodeOn(broker, { name, kinds, namespace: NAMESPACE, clock: own, log });
    await clock.advanceAsync(A_WHILE_MS);
    await starting;
    return () => {
      own.die();
      broker.kill();
    };
  };
  return { clock, names, world, start };
}

/** An alarm is set on a fast node, which dies; how many ms later it rings. */
async function ringsAfter(afterMs: number, passivateAfterMs: number): Promise<number> {
  const { clock, names, world, start } = worldWith([alarmKind(afterMs, passivateAfterMs)]);
  const kill = await start("n1", FAST_MS);
  const client = clientOn(world.connect("client"), names, 64, clock);
  const call = client.tell("alarm", "a", { type: "SET" });
  await clock.advanceAsync(10);
  await call;
  const setAtMs = clock.monotonic();
  kill();
  await start("n2", 0);
  while (world.messages(names.stream.pool).length === 0 && clock.monotonic() - setAtMs < FAST_MS)
    await clock.advanceAsync(1_000);
  return clock.monotonic() - setAtMs;
}

test("a timer that a fast node set fires when it should, give or take the takeover", async () => {
  expect(await ringsAfter(20_000, 3_600_000)).toBeLessThan(20_000 + 40_000);
});

test("an actor whose time is ahead stays in memory for its timers", async () => {
  expect(await ringsAfter(120_000, 5_000)).toBeLessThan(120_000 + 40_000);
});

test("an actor whose time is ahead that stays in memory forgets silent clients as soon as any other", async () => {
  const answer = "x".repeat(MAX_UNSETTLED_BYTES / 2);
  const large = defineActor({
    kind: "large",
    passivateAfterMs: FAST_MS,
    machine: setup({ types: { events: {} as { type: "GET" } } }).createMachine({
      on: { GET: { actions: reply(() => answer) } },
    }),
  });
  const { clock, names, world, start } = worldWith([large]);
  const kill = await start("n1", FAST_MS);
  const ask = async (name: string, times: number) => {
    const client = clientOn(world.connect(name), names, 64, clock);
    const calls = Array.from({ length: times }, () =>
      client.ask("large", "a", { type: "GET" }, { deadlineMs: A_WHILE_MS - 1_000 }),
    );
    const all = Promise.allSettled(calls);
    await clock.advanceAsync(A_WHILE_MS);
    return (await all).map(({ status }) => status);
  };
  expect(await ask("early", 3)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  kill();
  await start("n2", 0);
  await clock.advanceAsync(SENDER_HORIZON_MS + A_WHILE_MS);
  expect(await ask("late", 1)).toEqual(["fulfilled"]);
});
