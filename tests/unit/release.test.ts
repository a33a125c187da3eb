/** A shard whose release is cut short. Invariant: its actors go on: none of their timers is lost. */
import pino from "pino";
import { expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { clientOn } from "../../runtime/client.ts";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import { CHECKPOINT_EVERY_MS, SNAPSHOT_AFTER_MS } from "../../runtime/limits.ts";
import { startNodeOn } from "../../runtime/node.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import type { ShardRecord } from "../../runtime/shard-table.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { seeded } from "../fault/support/random.ts";
import { ProcessClock } from "../simulation/process-clock.ts";
import { over } from "../simulation/wire.ts";
import { alarmKind } from "../support/alarm.ts";

const NAMESPACE = "release";
const ALARMS = 40;
/** Longer than a start, a takeover or a call. */
const A_WHILE_MS = 3_000;
/** Rings after all is over. */
const RING_MS = 20_000;

const alarm = alarmKind(RING_MS);

/** 40 alarms on one node, set when its checkpoints are written; then a second one comes, and the first gives half of them away. */
async function giveAway(onRelease: () => Promise<void>) {
  const clock = new SimClock({ seed: 5 });
  const names = makeNames({ namespace: NAMESPACE });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const start = async (name: string) => {
    const own = new ProcessClock(clock, seeded(1).fork(name));
    const broker = world.connect(name, { clock: own });
    const isRelease = (subject: string, data: Uint8Array) =>
      subject.startsWith(names.kv.shards.key("")) &&
      (JSON.parse(Buffer.from(data).toString()) as ShardRecord).owner === null;
    const watched = over(broker, {
      append: async (subject, data, options) => {
        if (name === "n1" && isRelease(subject, data)) await onRelease();
        return await broker.append(subject, data, options);
      },
    });
    const log = pino({ level: "silent" });
    const starting = startNodeOn(watched, { name, kinds: [alarm], namespace: NAMESPACE, clock: own, log });
    await clock.advanceAsync(A_WHILE_MS);
    await starting;
    return () => {
      own.die();
      broker.kill();
    };
  };
  const kill = await start("n1");
  const client = clientOn(world.connect("client"), names, 64, clock);
  // One after the other, each in a round of its own: the last round of a journal stays in any case.
  for (let i = 0; i < ALARMS; i++) {
    const call = client.tell("alarm", `a${i}`, { type: "SET" });
    await clock.advanceAsync(1);
    await call;
  }
  await start("n2");
  return { clock, kill, rings: () => world.messages(names.stream.pool).length };
}

test("a shard whose release was not stored is taken back with its timers", async () => {
  let failures = 8;
  const { clock, rings } = await giveAway(() =>
    failures-- > 0 ? Promise.reject(new BrokerUnavailableError("No answer")) : Promise.resolve(),
  );
  expect(failures).toBeLessThanOrEqual(0);
  await clock.advanceAsync(RING_MS + A_WHILE_MS);
  expect(rings()).toBe(ALARMS);
});

test("a node that is killed as it releases leaves the timers of its shards to the next owner", async () => {
  const { clock, kill, rings } = await giveAway(() => new Promise(() => undefined));
  await clock.advanceAsync(SNAPSHOT_AFTER_MS + 2 * CHECKPOINT_EVERY_MS);
  kill();
  await clock.advanceAsync(RING_MS + 2 * A_WHILE_MS);
  expect(rings()).toBe(ALARMS);
});
