/** An engine without a node, on the in-memory server: for tests of its parts. Invariant: its appends wait while the test says so. */
import pino from "pino";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames, type Names } from "../../nats-config/subjects.ts";
import { shardOf } from "../../runtime/address.ts";
import { type ActorKind } from "../../runtime/define-actor.ts";
import { Engine } from "../../runtime/engine.ts";
import { Journal } from "../../runtime/journal.ts";
import type { Broker } from "../../runtime/port.ts";
import { createMemoryWorld, type MemoryWorld } from "../../runtime/port-memory.ts";
import { runnable } from "../../runtime/runnable.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

export interface EngineBench {
  readonly engine: Engine;
  readonly clock: SimClock;
  readonly world: MemoryWorld;
  readonly broker: Broker;
  readonly names: Names;
  /** The incarnation is over. */
  readonly end: () => void;
  /** The lease is good, or not. */
  readonly setLease: (isGood: boolean) => void;
  /** Appends to the journal wait from now on, until the returned function is called. */
  readonly holdAppends: () => () => void;
}

/** Node `n1`, incarnation `1`, which owns all shards. */
export function startEngine(kinds: readonly ActorKind[], shards: number): EngineBench {
  const names = makeNames({ namespace: "engine" });
  const clock = new SimClock({ seed: 3 });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const broker = world.connect("n1");
  const closed = new AbortController();
  let isGood = true;
  const setLease = (isNowGood: boolean) => {
    isGood = isNowGood;
  };
  const subject = names.journal("n1", "1");
  const journal = new Journal({ broker, clock, stream: names.stream.journal, subject, closed: closed.signal });
  let hold: Promise<void> | undefined;
  const append = journal.append.bind(journal);
  journal.append = async (round) => {
    await hold;
    return await append(round);
  };
  const engine = new Engine({
    node: "n1",
    broker,
    clock,
    names,
    shardOf: (kind, id) => shardOf(kind, id, shards),
    log: pino({ level: "silent" }),
    kinds: new Map(kinds.map((kind) => [kind.kind, runnable(kind)])),
    journal,
    closed: closed.signal,
    verifyDeterminism: false,
    epochOf: () => 1,
    mayAct: () => isGood,
    mayAnswer: () => isGood,
    provenAtMs: () => 1_000,
    sendRemote: () => Promise.reject(new Error("There is no other node")),
    onFailed: (error) => {
      throw error;
    },
  });
  for (let shard = 0; shard < shards; shard++) engine.owned.add(shard);
  const holdAppends = () => {
    const gate = Promise.withResolvers<void>();
    hold = gate.promise;
    return gate.resolve;
  };
  return { engine, clock, world, broker, names, end: () => closed.abort(), setLease, holdAppends };
}
