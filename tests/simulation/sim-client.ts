/** A client process of the simulated cluster, with its lanes and watchers. Invariant: what it was told is never taken back, whatever befalls it. */
import type { ActorView, Client } from "../../runtime/api.ts";
import { clientOn } from "../../runtime/client.ts";
import type { MemoryBroker } from "../../runtime/port-memory.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Random } from "../fault/support/random.ts";
import type { Auditor } from "./auditor.ts";
import type { ProcessWorld, Wire } from "./process.ts";
import { ProcessClock } from "./process-clock.ts";
import { repeating } from "./wire.ts";
import { type LanePlan, runLane } from "./workload.ts";

/** Part of the requests that the wire brings twice. */
const REPEATS = 0.1;

export class SimClient {
  readonly name: string;
  readonly client: Client;
  readonly #world: ProcessWorld;
  readonly #auditor: Auditor;
  readonly #random: Random;
  readonly #clock: ProcessClock;
  readonly #broker: MemoryBroker;
  readonly #ended = new AbortController();
  readonly #watched = new Map<string, number>();
  #lanes = 0;
  #isDead = false;

  constructor(world: ProcessWorld, auditor: Auditor, name: string, shards: number, random: Random, wire: Wire) {
    this.name = name;
    this.#world = world;
    this.#auditor = auditor;
    this.#random = random;
    this.#clock = new ProcessClock(world.clock, random.fork("clock"));
    this.#broker = world.memory.connect(name, { clock: this.#clock, latencyMs: wire });
    const broker = repeating(this.#broker, this.#clock, random.fork("repeats"), REPEATS);
    this.client = clientOn(broker, makeNames({ namespace: world.namespace }), shards, this.#clock);
  }

  /** Makes calls, one after the other, beside other lanes. */
  addLane(plan: LanePlan): void {
    const { trace, onDefect } = this.#world;
    const name = `${this.name}.${++this.#lanes}`;
    const onBreach = (law: string, text: string) => this.#auditor.breach(law, text);
    const random = this.#random.fork(name);
    runLane({ name, client: this.client, clock: this.#clock, random, trace, onBreach }, plan)
      .catch(onDefect)
      .finally(() => this.#lanes--);
  }

  /** Follows an actor; its revisions must only grow. */
  watch(kind: string, id: string): void {
    const key = `${kind}/${id}`;
    const follow = async () => {
      for await (const view of this.client.watch(kind, id, { signal: this.#ended.signal })) this.#onView(key, view);
    };
    this.#watched.set(key, 0);
    follow().catch(this.#world.onDefect);
  }

  /** What it still waits for. */
  unfinished(): string[] {
    if (this.#isDead) return [];
    const late = [...this.#watched].filter(([key, seen]) => seen < (this.#auditor.books.get(key)?.revision ?? 0));
    const left = late.map(([key, seen]) => `${this.name} watches ${key}, and saw no more than revision ${seen}`);
    return this.#lanes === 0 ? left : [`${this.name} has ${this.#lanes} calls open`, ...left];
  }

  freeze(): void {
    this.#world.trace.tell(this.name, () => "FREEZE");
    this.#clock.freeze();
  }

  thaw(): void {
    if (this.#clock.isFrozen) this.#world.trace.tell(this.name, () => "THAW");
    this.#clock.thaw();
  }

  cut(options: { readonly lose: "request" | "ack"; readonly noticed: boolean }): void {
    this.#world.trace.tell(this.name, () => `CUT OFF ${JSON.stringify(options)}`);
    this.#broker.partition(options);
  }

  join(): void {
    if (this.#broker.status === "disconnected") this.#world.trace.tell(this.name, () => "CONNECTED AGAIN");
    this.#broker.heal();
  }

  kill(): void {
    if (this.#isDead) return;
    this.#world.trace.tell(this.name, () => "CRASH");
    this.#isDead = true;
    this.#clock.die();
    this.#broker.kill();
  }

  /** Ends its watchers in good order. */
  end(): void {
    this.#ended.abort();
  }

  #onView(key: string, { revision }: ActorView): void {
    const before = this.#watched.get(key) ?? 0;
    if (revision < before)
      this.#auditor.breach("a watcher sees revisions grow", `${this.name} saw ${key} at ${revision} after ${before}`);
    this.#watched.set(key, revision);
  }
}
