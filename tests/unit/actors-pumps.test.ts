import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startPumps } from "../../actors/index.ts";
import { MISADDRESSED_IN_FLIGHT } from "../../actors/misaddressed.ts";
import { DELIVERY_LIMIT, PUMP_CALL_DEADLINE_MS, type PumpLog } from "../../actors/pump.ts";
import { numbered, PUMP_WINDOW } from "../../actors/pump-sender.ts";
import { PRESENCE_TTL_S, streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { shardOf } from "../../runtime/address.ts";
import type { ActorView, CallOptions, Client, Node } from "../../runtime/api.ts";
import { decode } from "../../runtime/codec.ts";
import { ActorNotFoundError, DeadlineError, PoisonMessageError, UnknownKindError } from "../../runtime/errors.ts";
import { createMemoryWorld, type MemoryBroker, type MemoryWorld } from "../../runtime/port-memory.ts";
import { settlePromises, SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames();
const SHARDS = 4;
const silentLog: PumpLog = { info: () => undefined, warn: () => undefined, error: () => undefined };
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

interface Call {
  readonly to: string;
  readonly event: { readonly type: string; readonly [key: string]: unknown };
  readonly options: CallOptions;
}

/** What a pump sees of a node: its calls are recorded, and fail as a test says. */
class StubNode {
  readonly calls: Call[] = [];
  readonly values = new Map<string, string>();
  owned = new Set([0, 1, 2, 3]);
  fail: (call: Call) => Error | undefined | Promise<undefined> = () => undefined;
  #onShards: (gained: readonly number[], lost: readonly number[]) => void = () => undefined;
  /** Only the part that pumps use: the rest of a node has no meaning without actors. */
  readonly node: Node;

  constructor() {
    const call = async (kind: string | { kind: string }, id: string, event: unknown, options: CallOptions = {}) => {
      const made = {
        to: `${typeof kind === "string" ? kind : kind.kind}/${id}`,
        event: event as Call["event"],
        options,
      };
      const wrong = await this.fail(made);
      if (wrong !== undefined) throw wrong;
      this.calls.push(made);
      return { agents: [] };
    };
    const client = {
      shards: SHARDS,
      tell: call,
      ask: call,
      list: async () => [...this.values.keys()].map((id) => ({ kind: "device", id, node: null })),
      query: async (_kind: string, id: string) => {
        const value = this.values.get(id);
        if (value === undefined) throw new ActorNotFoundError(id);
        return { value } as ActorView;
      },
    } as unknown as Client;
    const used: Pick<Node, "client" | "ownedShards" | "owns" | "shardOf" | "onShards"> = {
      client,
      ownedShards: () => [...this.owned],
      shardOf: ({ kind, id }) => shardOf(kind, id, SHARDS),
      owns: ({ kind, id }) => this.owned.has(shardOf(kind, id, SHARDS)),
      onShards: (listener) => {
        this.#onShards = listener;
      },
    };
    this.node = used as Node;
  }

  move(gained: readonly number[], lost: readonly number[]): void {
    for (const shard of gained) this.owned.add(shard);
    for (const shard of lost) this.owned.delete(shard);
    this.#onShards(gained, lost);
  }

  said(to: string): string[] {
    return this.calls.filter((call) => call.to === to).map(({ event }) => event.type);
  }
}

let clock: SimClock;
let world: MemoryWorld;
let broker: MemoryBroker;
let stub: StubNode;
let pumps: { stop(): Promise<void> };
const start = (as = stub) => startPumps({ node: as.node, broker, names, log: silentLog, clock });
const dead = () =>
  world
    .messages(names.stream.dead)
    .map(({ subject, data }) => ({ subject, letter: decode(data) as Record<string, unknown> }));

beforeEach(async () => {
  clock = new SimClock();
  world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  broker = world.connect("node");
  stub = new StubNode();
  pumps = await start();
});

afterEach(() => pumps.stop());

describe("ingress and pools", () => {
  const subject = names.deviceEvent("sunri-pi1", "device2", "alert.blackscreen");

  test("bring a device's event into its pool, to its device and to the pool's router", async () => {
    await broker.append(subject, json({ id: "e1", status: "active" }));
    await settlePromises();
    expect(world.messages(names.stream.pool).map((message) => message.subject)).toEqual([
      names.pool("shared.alerts", "critical", "alert.blackscreen"),
    ]);
    expect(stub.calls).toHaveLength(2);
    expect(stub.calls).toContainEqual(
      expect.objectContaining({
        to: "device/sunri-pi1:device2",
        event: { type: "observed", event: expect.objectContaining({ id: "e1", type: "alert.blackscreen" }) },
      }),
    );
    expect(stub.calls).toContainEqual(
      expect.objectContaining({
        to: "router/shared:alerts",
        event: {
          type: "route",
          event: expect.objectContaining({
            id: "e1",
            priority: "critical",
            device: { host: "sunri-pi1", device: "device2" },
          }),
        },
        options: { deadlineMs: PUMP_CALL_DEADLINE_MS, priority: "critical", from: { sender: "pool", seq: 1, low: 1 } },
      }),
    );
    await clock.advanceAsync(120_000);
    expect(stub.calls).toHaveLength(2);
  });

  test("file an event once that is published twice", async () => {
    for (let i = 0; i < 2; i++) await broker.append(subject, json({ id: "e1" }));
    await settlePromises();
    expect(world.messages(names.stream.pool)).toHaveLength(1);
    expect(stub.said("router/shared:alerts")).toEqual(["route"]);
  });

  test("put a malformed event into the dead letters and go on with the next", async () => {
    await broker.append(subject, Buffer.from("{nonsense"));
    await broker.append(subject, json({ id: "e2" }));
    await settlePromises();
    expect(dead()).toEqual([
      {
        subject: names.dead("malformed", "ingress", "1"),
        letter: expect.objectContaining({
          reason: "malformed",
          kind: "ingress",
          id: "1",
          cause: expect.stringContaining("is not JSON"),
          sender: subject,
          event: "{nonsense",
        }),
      },
    ]);
    expect(stub.said("router/shared:alerts")).toEqual(["route"]);
    await clock.advanceAsync(120_000);
    expect(dead()).toHaveLength(1);
  });

  test("put an event that no actor can store into the dead letters once, and not into its pool", async () => {
    await broker.append(subject, Buffer.from('{"id":"e1","a":{"__proto__":1}}'));
    await settlePromises();
    expect(dead()).toMatchObject([{ letter: { reason: "malformed", cause: expect.stringContaining("__proto__") } }]);
    expect(world.messages(names.stream.pool)).toEqual([]);
    expect(stub.calls).toEqual([]);
  });

  test("put an event whose subject names no device into the dead letters, once for all nodes", async () => {
    const other = new StubNode();
    other.owned = new Set();
    const second = await start(other);
    for (const wrong of ["device.h.event.alert.freeze", "device.h.event.x"]) broker.publish(wrong, json({ id: "e1" }));
    for (const right of ["device.h.event.event.x", "device.h.event.heartbeat", "device.h.event.cmd"])
      broker.publish(right, json({}));
    await settlePromises();
    await second.stop();
    expect(dead().filter(({ letter }) => letter["reason"] === "misaddressed")).toEqual(
      ["device.h.event.alert.freeze", "device.h.event.x"].map((sender) => ({
        subject: expect.stringMatching(/^troupe\.dead\.misaddressed\.ingress\.[0-9a-f]{24}$/),
        letter: expect.objectContaining({
          sender,
          event: '{"id":"e1"}',
          cause: expect.stringContaining("device/<host>/<device>/event/<type>"),
        }),
      })),
    );
  });

  test("drop misaddressed events beyond the limit, and go on after it", async () => {
    for (let n = 0; n < MISADDRESSED_IN_FLIGHT + 9; n++) broker.publish("device.h.event.x", json({ n }));
    await settlePromises();
    expect(dead()).toHaveLength(MISADDRESSED_IN_FLIGHT);
    broker.publish("device.h.event.x", json({ n: "later" }));
    await settlePromises();
    expect(dead()).toHaveLength(MISADDRESSED_IN_FLIGHT + 1);
  });

  test.each([
    ["a busy router", new DeadlineError("late")],
    ["a kind without a host", new UnknownKindError("router", [])],
  ])("try again after %s, unnumbered, while others pass", async (_what, error) => {
    let failures = 3;
    stub.fail = ({ to }) => (to === "router/shared:alerts" && failures-- > 0 ? error : undefined);
    await broker.append(subject, json({ id: "e1" }));
    await broker.append(names.ingress("http", "build.deployed"), json({}));
    await settlePromises();
    expect(stub.said("router/shared:builds")).toEqual(["route"]);
    expect(stub.said("router/shared:alerts")).toEqual([]);
    await clock.advanceAsync(10_000);
    expect(stub.said("router/shared:alerts")).toEqual(["route"]);
    expect(stub.calls.find(({ to }) => to === "router/shared:alerts")?.options.from).toBeUndefined();
    expect(dead()).toEqual([]);
  });

  test("put an event that its router cannot take into the dead letters", async () => {
    stub.fail = ({ to }) => (to.startsWith("router/") ? new PoisonMessageError("bad") : undefined);
    await broker.append(subject, json({ id: "e1" }));
    await settlePromises();
    expect(dead()).toMatchObject([
      { subject: names.dead("refused", "pool", "1"), letter: { cause: "POISON_MESSAGE: bad" } },
    ]);
    await clock.advanceAsync(120_000);
    expect(dead()).toHaveLength(1);
  });

  test("give up on an event that can never be brought, in the end", async () => {
    stub.fail = ({ to }) => (to.startsWith("router/") ? new DeadlineError("late") : undefined);
    await broker.append(subject, json({ id: "e1" }));
    await clock.advanceAsync(60_000);
    expect(dead()).toEqual([]);
    await clock.advanceAsync(DELIVERY_LIMIT * 30_000);
    expect(dead()).toMatchObject([{ letter: { cause: "DEADLINE: late" } }]);
  });

  test("stop() waits for what is in flight, and what it did not take waits for another node", async () => {
    let release: (value: undefined) => void = () => undefined;
    const gate = new Promise<undefined>((resolve) => {
      release = resolve;
    });
    stub.fail = ({ to }) => (to.startsWith("router/") ? gate : undefined);
    await broker.append(subject, json({ id: "e1" }));
    await settlePromises();
    let isStopped = false;
    const stopped = pumps.stop().then(() => {
      isStopped = true;
    });
    await settlePromises();
    expect(isStopped).toBe(false);
    release(undefined);
    await stopped;
    expect(stub.said("router/shared:alerts")).toEqual(["route"]);
    await broker.append(subject, json({ id: "e2" }));
    await clock.advanceAsync(60_000);
    expect(stub.said("router/shared:alerts")).toEqual(["route"]);
    stub.fail = () => undefined;
    pumps = await start();
    await clock.advanceAsync(1_000);
    expect(stub.said("router/shared:alerts")).toEqual(["route", "route"]);
  });
});

test.each([
  [1, 1, { from: { sender: "pool", seq: 1, low: 1 } }],
  [PUMP_WINDOW + 9, 1, { from: { sender: "pool", seq: PUMP_WINDOW + 9, low: 9 } }],
  [5, 2, {}],
] as const)("numbered() of sequence %i in delivery %i", (seq, attempt, from) => {
  expect(numbered("pool", { seq, attempt })).toEqual(from);
});

describe("presence", () => {
  const id = "sunri-pi1:device2";
  const heartbeat = names.deviceHeartbeat("sunri-pi1", "device2");
  const shard = shardOf("device", id, SHARDS);
  const beat = async (facts: object = { model: "stb" }) => {
    await broker.append(heartbeat, json(facts));
    await settlePromises();
  };

  test("tells a device once that it is online, again when its facts change, and that it is silent when heartbeats end", async () => {
    for (let i = 0; i < 5; i++) {
      await beat();
      await clock.advanceAsync(5_000);
    }
    expect(stub.said(`device/${id}`)).toEqual(["online"]);
    expect(stub.calls[0]?.event).toEqual({ type: "online", facts: { model: "stb" } });
    await beat({ model: "stb", name: "EOS" });
    await clock.advanceAsync(PRESENCE_TTL_S * 1_000 + 1_000);
    expect(stub.said(`device/${id}`)).toEqual(["online", "online", "silent"]);
    await beat();
    expect(stub.said(`device/${id}`)).toEqual(["online", "online", "silent", "online"]);
  });

  test("leaves a device to the node that owns it, and tells it after a take-over", async () => {
    stub.move([], [shard]);
    await beat();
    expect(stub.said(`device/${id}`)).toEqual([]);
    stub.move([shard], []);
    await settlePromises();
    expect(stub.said(`device/${id}`)).toEqual(["online"]);
  });

  test("corrects a device that went while no node was up, and no other", async () => {
    stub.values
      .set("sunri-pi1:gone", "online")
      .set("sunri-pi1:off", "offline")
      .set("sunri-pi1:new", "unknown")
      .set(id, "online");
    await beat();
    await pumps.stop();
    stub.calls.length = 0;
    pumps = await start();
    await clock.advanceAsync(10);
    expect(stub.calls.map(({ to, event }) => `${to} ${event.type}`).toSorted()).toEqual([
      "device/sunri-pi1:device2 online",
      "device/sunri-pi1:gone silent",
    ]);
  });

  test("repeats what could not be told until it can, and says only the latest", async () => {
    let isDown = true;
    stub.fail = () => (isDown ? new DeadlineError("late") : undefined);
    await beat();
    await clock.advanceAsync(2_000);
    await beat({ model: "stb", name: "EOS" });
    isDown = false;
    await clock.advanceAsync(10_000);
    expect(stub.calls.map(({ event }) => event)).toEqual([{ type: "online", facts: { model: "stb", name: "EOS" } }]);
  });
});
