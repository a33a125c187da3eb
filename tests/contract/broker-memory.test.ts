/**
 * The contract on the in-memory twin, with and without latency, and what only the twin can do: cut wires, lose answers,
 * repeat a run. Invariant: no real time passes.
 */
import { describe, expect, test } from "vitest";
import type { StreamSpec } from "../../nats-config/streams.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { BrokerUnavailableError, NoResponderError, RevisionConflictError } from "../../runtime/errors.ts";
import type { Broker, BrokerStatus } from "../../runtime/port.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { settlePromises, SimClock } from "../../runtime/testkit/sim-clock.ts";
import { bytes, type ContractWorld, text } from "./bench.ts";
import { brokerContract } from "./broker.contract.ts";

/** Virtual patience for one condition or answer, in ms. */
const DEADLINE_MS = 120_000;
/** Virtual time that passes between two looks at a condition, in ms. */
const STEP_MS = 5;

/** Lets virtual time run until the promise settles. */
async function drive<T>(clock: SimClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  watched.catch(() => undefined); // reported by the return below
  const deadlineMs = clock.monotonic() + DEADLINE_MS;
  for (await settlePromises(); !settled; await settlePromises()) {
    const waitMs = clock.nextInMs();
    if (waitMs === undefined || clock.monotonic() > deadlineMs)
      throw new Error("The promise waits for nothing that will come");
    await clock.advanceAsync(waitMs);
  }
  return await watched;
}

/** A broker whose answers let the time pass that they need. */
function driven<T extends Broker>(clock: SimClock, broker: T): T {
  return new Proxy(broker, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const result = Reflect.apply(value, target, args) as unknown;
        return result instanceof Promise ? drive(clock, result) : result;
      };
    },
  });
}

function memoryWorld(latencyMs: { min: number; max: number }): ContractWorld {
  const clock = new SimClock({ seed: 7 });
  const world = createMemoryWorld({ clock, specs: [], latencyMs });
  return {
    connect: async (name) => driven(clock, world.connect(name)),
    addStream: async (spec) => world.addStreams([spec]),
    now: () => clock.now(),
    until: async (what, condition) => {
      const deadlineMs = clock.monotonic() + DEADLINE_MS;
      await settlePromises();
      while (!(await condition())) {
        if (clock.monotonic() > deadlineMs) throw new Error(`Not in time: ${what}`);
        await clock.advanceAsync(STEP_MS);
      }
    },
    close: async () => undefined,
  };
}

brokerContract("memory", () => memoryWorld({ min: 0, max: 0 }));
brokerContract("memory with latency", () => memoryWorld({ min: 0, max: 7 }));

const SPEC: StreamSpec = { name: "S", subjects: ["s.>"] };

function twoNodes(seed = 1, latencyMs = { min: 0, max: 0 }) {
  const clock = new SimClock({ seed });
  const world = createMemoryWorld({ clock, specs: [SPEC], latencyMs });
  return { clock, world, one: world.connect("one"), two: world.connect("two") };
}

describe("MemoryBroker", () => {
  test("partition() drops publishes, tells the listeners and leaves nobody to answer", async () => {
    const { clock, one, two } = twoNodes();
    const statuses: BrokerStatus[] = [];
    const seen: string[] = [];
    one.onStatus((status) => statuses.push(status));
    one.subscribe("x", (message) => {
      seen.push(text(message.data));
      if (message.reply !== undefined) one.publish(message.reply, bytes("yes"));
    });
    await settlePromises();
    one.partition();
    expect(one.publish("y", bytes(""))).toBe(false);
    await expect(two.request("x", bytes("1"), 1_000)).rejects.toThrow(NoResponderError);
    two.publish("x", bytes("2"));
    await settlePromises();
    one.heal();
    expect(text(await drive(clock, two.request("x", bytes("3"), 1_000)))).toBe("yes");
    expect([seen, statuses]).toEqual([["3"], ["disconnected", "connected"]]);
  });

  test("partition() that the server has not noticed lets requests run into their time-outs", async () => {
    const { clock, one, two } = twoNodes();
    one.subscribe("x", () => undefined);
    await settlePromises();
    one.partition({ noticed: false });
    await expect(drive(clock, two.request("x", bytes("1"), 1_000))).rejects.toThrow(BrokerUnavailableError);
    expect(clock.monotonic()).toBe(1_000);
  });

  test.each([
    ["request", 0],
    ["ack", 1],
  ] as const)("partition() that loses the %s of an append stores %d messages", async (lose, stored) => {
    const { clock, world, one } = twoNodes();
    one.partition({ lose });
    await expect(drive(clock, one.append("s.a", bytes("1"), { expectedLastSubjectSeq: 0 }))).rejects.toThrow(
      BrokerUnavailableError,
    );
    expect(world.messages("S").length).toBe(stored);
    one.heal();
    const again = drive(clock, one.append("s.a", bytes("1"), { expectedLastSubjectSeq: 0 }));
    if (stored === 0) expect(await again).toBe(1);
    else await expect(again).rejects.toThrow(RevisionConflictError);
  });

  test("failAppends() takes the next answers away, then appends work again", async () => {
    const { clock, world, one } = twoNodes();
    one.failAppends("ack");
    one.failAppends("request");
    const lost = [one.append("s.a", bytes("1")), one.append("s.a", bytes("2"))].map((append) =>
      expect(append).rejects.toThrow(BrokerUnavailableError),
    );
    const third = one.append("s.a", bytes("3"));
    await clock.advanceAsync(10_000);
    await Promise.all(lost);
    expect(await third).toBe(2);
    expect(world.messages("S").map(({ data }) => text(data))).toEqual(["1", "3"]);
  });

  test("follow() goes on after heal() without a gap and without repetition", async () => {
    const { clock, one, two } = twoNodes(3, { min: 1, max: 5 });
    const seen: number[] = [];
    await drive(clock, one.append("s.a", bytes("x")));
    await drive(
      clock,
      two.follow("S", { subjects: ["s.>"], from: "last" }, ({ seq }) => seen.push(seq)),
    );
    for (let i = 0; i < 60; i += 1) {
      await drive(clock, one.append(`s.${i % 3}`, bytes("x")));
      if (i % 20 === 5) two.partition(); // with messages under way
      if (i % 20 === 15) two.heal();
    }
    await clock.advanceAsync(1_000);
    expect(seen).toEqual(Array.from({ length: 61 }, (_, i) => i + 1));
  });

  test("follow() that reaches the server while its answers are lost gives all once it is back, and no part before", async () => {
    const clock = new SimClock({ seed: 5 });
    const world = createMemoryWorld({ clock, specs: [SPEC] });
    const [one, two] = [world.connect("one"), world.connect("two", { readersBackMs: { min: 50, max: 50 } })];
    const seen: number[] = [];
    await one.append("s.a", bytes("x"));
    two.partition({ lose: "ack" });
    // Its own answer is lost too, and may fail: what comes in is what counts.
    two.follow("S", { subjects: ["s.>"], from: "all" }, ({ seq }) => seen.push(seq)).catch(() => undefined);
    await clock.advanceAsync(1);
    two.heal();
    await drive(clock, one.append("s.a", bytes("y")));
    await clock.advanceAsync(60);
    expect(seen).toEqual([1, 2]);
  });

  test("consume() gives what a cut process held to another after the wait, and to itself after heal()", async () => {
    const { clock, one, two } = twoNodes();
    const options = { durable: "d", subjects: ["s.>"], maxInFlight: 1, ackWaitMs: 1_000 };
    const seen: [string, number][] = [];
    await one.consume("S", options, ({ seq }) => seen.push(["one", seq]));
    await two.append("s.a", bytes("x"));
    await settlePromises();
    one.partition();
    await two.consume("S", options, (delivery) => {
      seen.push(["two", delivery.seq]);
      delivery.ack();
    });
    await clock.advanceAsync(1_000);
    two.partition();
    one.heal();
    await one.append("s.a", bytes("y"));
    await clock.advanceAsync(1);
    expect(seen).toEqual([
      ["one", 1],
      ["two", 1],
      ["one", 2],
    ]);
  });

  test("kill() ends a process: no callback runs and no promise settles", async () => {
    const { clock, world, one, two } = twoNodes(1, { min: 1, max: 2 });
    const seen: string[] = [];
    one.subscribe("x", () => seen.push("message"));
    one.onStatus(() => seen.push("status"));
    one.append("s.a", bytes("x")).then(
      () => seen.push("resolved"),
      () => seen.push("rejected"),
    );
    await clock.advanceAsync(0);
    one.kill();
    two.publish("x", bytes(""));
    await clock.advanceAsync(60_000);
    expect([seen, world.messages("S").length, clock.pending]).toEqual([[], 0, 0]);
  });

  test("subscribe() lends its data for the callback only", async () => {
    const { one } = twoNodes();
    const kept: Uint8Array[] = [];
    one.subscribe("x", ({ data }) => kept.push(data));
    one.publish("x", bytes("abc"));
    await settlePromises();
    expect(text(kept[0] ?? bytes(""))).not.toBe("abc");
  });

  test("the publisher's bytes stay its own, also in a Buffer, whose slice() is no copy", async () => {
    const { clock, one, two } = twoNodes();
    const own = Buffer.from("abc");
    two.subscribe("x", () => undefined);
    one.publish("x", own);
    await drive(clock, one.append("s.x", own));
    await settlePromises();
    expect(own.toString()).toBe("abc");
    own.fill(0);
    const stored = await drive(clock, one.getLast("S", "s.x"));
    expect(text(stored?.data ?? bytes(""))).toBe("abc");
  });

  test("a frozen node is sent nothing, and what it sent before arrives", async () => {
    const { clock, world, two } = twoNodes(1, { min: 5, max: 5 });
    const frozen = new SimClock({ seed: 9 }); // nobody lets its time pass
    const seen: string[] = [];
    const heard: string[] = [];
    const own = world.connect("frozen", { clock: frozen });
    own.subscribe("x", ({ subject }) => seen.push(subject));
    two.subscribe("y", ({ subject }) => heard.push(subject));
    await clock.advanceAsync(10);
    own.publish("y", bytes(""));
    two.publish("x", bytes(""));
    await clock.advanceAsync(1_000);
    expect([heard, seen]).toEqual([["y"], []]);
    await frozen.advanceAsync(1_000);
    expect(seen).toEqual(["x"]);
  });

  test("after a break a node hears messages at once, and follows streams only when the server has set that up", async () => {
    const { clock, world, one } = twoNodes();
    const own = world.connect("own", { readersBackMs: { min: 100, max: 100 } });
    const seen: string[] = [];
    own.subscribe("x", ({ subject }) => seen.push(subject));
    await drive(
      clock,
      own.follow("S", { subjects: ["s.>"], from: "all" }, ({ seq }) => seen.push(`follows ${seq}`)),
    );
    own.partition();
    await drive(clock, one.append("s.x", bytes("")));
    own.heal();
    one.publish("x", bytes(""));
    await clock.advanceAsync(99);
    expect(seen).toEqual(["x"]);
    await clock.advanceAsync(1);
    expect(seen).toEqual(["x", "follows 1"]);
  });

  test("a tap sees each core message and each stored one, refused ones not", async () => {
    const clock = new SimClock();
    const seen: string[] = [];
    const tap = {
      onPacket: ({ subject }: { readonly subject: string }) => seen.push(`packet ${subject}`),
      onStored: ({ subject, seq }: { readonly subject: string; readonly seq: number }) =>
        seen.push(`stored ${subject} ${seq}`),
    };
    const broker = createMemoryWorld({ clock, specs: [SPEC], tap }).connect("one");
    broker.publish("x", bytes(""));
    await drive(clock, broker.append("s.x", bytes("")));
    await drive(
      clock,
      broker.append("s.x", bytes(""), { expectedLastSubjectSeq: 7 }).catch(() => 0),
    );
    expect(seen).toEqual(["packet x", "stored s.x 1"]);
  });

  test("two runs of one seed are the same, of two seeds are not", async () => {
    const run = async (seed: number): Promise<string[]> => {
      const { clock, one, two } = twoNodes(seed, { min: 1, max: 50 });
      const trace: string[] = [];
      two.subscribe("x.*", ({ subject }) => trace.push(`${clock.now()} ${subject}`));
      await drive(
        clock,
        two.follow("S", { subjects: ["s.>"], from: "all" }, ({ seq }) => trace.push(`${clock.now()} ${seq}`)),
      );
      const appends = Array.from({ length: 20 }, (_, i) => {
        one.publish(`x.${i}`, bytes(""));
        return one.append("s.a", bytes(clock.randomId(4)));
      });
      await drive(clock, Promise.all(appends));
      await clock.advanceAsync(200);
      return trace;
    };
    const first = await run(1);
    expect(first.length).toBe(40);
    expect(await run(1)).toEqual(first);
    expect(await run(2)).not.toEqual(first);
  });

  test("createMemoryWorld() takes the streams of a cluster and refuses what it does not model", () => {
    const clock = new SimClock();
    expect(() => createMemoryWorld({ clock, specs: streamSpecs(makeNames()) })).not.toThrow();
    expect(() => createMemoryWorld({ clock, specs: [{ ...SPEC, allow_msg_counter: true }] })).toThrow(
      /allow_msg_counter/,
    );
  });
});

describe("SimClock", () => {
  test("advance() fires timers in order of due time, then of setting, at their own time", () => {
    const clock = new SimClock();
    const fired: [string, number][] = [];
    const note = (name: string) => () => fired.push([name, clock.monotonic()]);
    clock.setTimeout(note("c"), 20);
    clock.setTimeout(note("a"), 10);
    clock.setTimeout(note("b"), 10);
    clock.clearTimeout(clock.setTimeout(note("never"), 15));
    clock.setTimeout(() => clock.setTimeout(note("nested"), 5), 12);
    clock.advance(19);
    expect(fired).toEqual([
      ["a", 10],
      ["b", 10],
      ["nested", 17],
    ]);
    expect([clock.pending, clock.nextInMs(), clock.monotonic()]).toEqual([1, 1, 19]);
    clock.advance(1);
    expect(fired.at(-1)).toEqual(["c", 20]);
  });

  test("advanceAsync() lets promises settle between timers", async () => {
    const clock = new SimClock();
    const order: string[] = [];
    clock.setTimeout(() => {
      order.push("first");
      void Promise.resolve().then(async () => {
        await Promise.resolve();
        order.push("its promise");
        clock.setTimeout(() => order.push("its timer"), 1);
      });
    }, 1);
    clock.setTimeout(() => order.push("second"), 2);
    await clock.advanceAsync(2);
    expect(order).toEqual(["first", "its promise", "second", "its timer"]);
  });

  test("random() and randomId() repeat with the seed", () => {
    const draw = (seed: number) => {
      const clock = new SimClock({ seed });
      return [clock.random(), clock.randomId(8), clock.random()];
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
    expect(draw(5)[1]).toMatch(/^[0-9a-f]{16}$/);
  });
});
