/**
 * One short life of a cluster: real nodes and clients on the in-memory server, in virtual time, with the faults of one seed,
 * under the auditor's eyes. Invariant: the seed decides everything; two runs of it are one.
 */
import { JOURNAL_MAX_BYTES, streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { createMemoryWorld, type MemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { thrownText } from "../../runtime/thrown.ts";
import { type Random, seeded } from "../fault/support/random.ts";
import { Auditor } from "./auditor.ts";
import { strike, type Victims } from "./faults.ts";
import { type AccountContext, OPENING_BALANCE } from "./kinds.ts";
import { NAMESPACE, type Plant } from "./planted.ts";
import { type ProcessWorld, SimProcess } from "./process.ts";
import { Trace } from "./trace.ts";
import { SimClient } from "./sim-client.ts";

/** Few, so that nodes share each; a record each, so that they cost little. */
const SHARDS = 8;
/** Faults befall the cluster within this, in ms. */
const STORMY_MS = 5_000;
const MOST_FAULTS = 6;
/** After the last fault all is done within this, in ms: calls, takeovers, timers, retries. */
const SETTLE_MS = 40_000;
/** Virtual time between two looks at the world, in ms. */
const LOOK_EVERY_MS = 250;
/** One way of a good wire, in ms at most. */
const GOOD_WIRE_MS = 8;
/** Pauses of a lane between two calls at most, in ms: calm ones, and such that rounds and mailboxes fill. */
const PAUSES_MS = [250, 250, 120, 20] as const;
/** Part of the histories in which the server tells of connections. */
const HEARING = 0.8;
/** A client that asks all the time, in this part of the histories. */
const READER = { calls: 150, pauseMs: 40, isReader: true };
const READERS = 0.25;
/** Actors that are watched, each in this part of the histories. */
const WATCHED = [
  ["tally", "t0"],
  ["account", "a0"],
  ["alarm", "m0"],
] as const;
const WATCHERS = 0.15;

export interface HistoryOptions {
  readonly plant?: Plant;
  /** Tells what happens, line by line. */
  readonly write?: (line: string) => void;
}

export interface HistoryReport {
  readonly seed: number;
  /** Which laws were broken, and how; empty if none was. */
  readonly breaches: readonly string[];
  readonly counts: Auditor["counts"];
  /** How long it took by its own clock, in ms. */
  readonly virtualMs: number;
}

export async function runHistory(seed: number, options: HistoryOptions = {}): Promise<HistoryReport> {
  const { stackTraceLimit } = Error;
  // Refusals are many, and nobody reads where they were made, but in a trace.
  if (options.write === undefined) Error.stackTraceLimit = 0;
  const history = new History(seed, options);
  const uninstall = history.install();
  const onRejection = (error: unknown) => history.defect(error);
  process.on("unhandledRejection", onRejection);
  try {
    return await history.run();
  } catch (error) {
    history.defect(error);
    return history.report();
  } finally {
    process.off("unhandledRejection", onRejection);
    uninstall();
    Error.stackTraceLimit = stackTraceLimit;
  }
}

class History {
  readonly #seed: number;
  readonly #plant: Plant | undefined;
  readonly #random: Random;
  readonly #clock: SimClock;
  readonly #trace: Trace;
  readonly #auditor: Auditor;
  readonly #memory: MemoryWorld;
  readonly #world: ProcessWorld;
  readonly #processes: SimProcess[] = [];
  readonly #names = makeNames({ namespace: NAMESPACE });
  readonly #clients: SimClient[] = [];
  readonly #journalSpec: { max_bytes?: number };

  constructor(seed: number, { plant, write }: HistoryOptions) {
    this.#seed = seed;
    this.#plant = plant;
    this.#random = seeded(seed).fork("history");
    this.#clock = new SimClock({ seed });
    this.#trace = new Trace(this.#clock, write);
    this.#auditor = new Auditor(this.#names, SHARDS, this.#trace);
    const specs = streamSpecs(this.#names);
    this.#journalSpec = specs.find(({ name }) => name === this.#names.stream.journal) ?? {};
    this.#memory = createMemoryWorld({ clock: this.#clock, specs, tap: this.#auditor });
    this.#world = {
      clock: this.#clock,
      memory: this.#memory,
      trace: this.#trace,
      namespace: NAMESPACE,
      wrap: (broker, clock) => plant?.wrap?.(broker, clock, this.#memory) ?? broker,
      tellConnection: this.#teller(),
      onWork: (worker, session) => {
        this.#trace.tell(worker.name, () => `works on ${session}`);
        this.#auditor.onWork(session);
      },
      onDefect: (error) => this.defect(error),
    };
  }

  /** Many servers let nodes hear of each other's connections, some do not. */
  #teller(): ProcessWorld["tellConnection"] {
    if (this.#random.next() > HEARING) return () => undefined;
    const server = this.#memory.connect("server", { latencyMs: { min: 0, max: 0 } });
    return (event, connection, reason) => {
      const subject = this.#names[event].replace("*", "APP");
      server.publish(subject, Buffer.from(JSON.stringify({ client: { name: connection }, reason })));
    };
  }

  /** Puts the planted bug, if any, into the runtime; returns the way back. */
  install(): () => void {
    return this.#plant?.install?.(this.#memory) ?? (() => undefined);
  }

  defect(error: unknown): void {
    this.#auditor.breach(
      "nothing throws what nobody handles",
      error instanceof Error ? (error.stack ?? String(error)) : thrownText(error),
    );
  }

  async run(): Promise<HistoryReport> {
    await this.#found();
    this.#raise();
    this.#load();
    this.#brew();
    await this.#advance(STORMY_MS, () => false);
    this.#calm();
    if (await this.#advance(SETTLE_MS, () => this.#unsettled().length === 0)) await this.#close();
    else this.#late("what was begun", this.#unsettled());
    for (const one of this.#processes) one.crash();
    for (const one of this.#clients) one.kill();
    return this.report();
  }

  report(): HistoryReport {
    const { breaches, counts } = this.#auditor;
    return { seed: this.#seed, breaches, counts, virtualMs: this.#clock.monotonic() };
  }

  /** Facts that the first node would write, with fewer shards. */
  async #found(): Promise<void> {
    const broker = this.#memory.connect("founder", { latencyMs: { min: 0, max: 0 } });
    await broker.append(this.#names.kv.meta.key("cluster"), Buffer.from(JSON.stringify({ shards: SHARDS })));
    broker.kill();
  }

  #raise(): void {
    const nodes = this.#random.int(3, 6);
    for (let place = 0; place < nodes; place++) {
      const one = new SimProcess(this.#world, place, this.#random.fork(`node-${place}`));
      one.wire.max = this.#random.int(1, GOOD_WIRE_MS);
      this.#processes.push(one);
      this.#clock.setTimeout(() => one.start(), this.#random.int(0, 200));
    }
  }

  #load(): void {
    const [clients, lanes, calls] = [this.#random.int(1, 4), this.#random.int(2, 7), this.#random.int(5, 21)];
    const pauseMs = this.#random.pick(PAUSES_MS);
    for (let i = 0; i < clients; i++) this.#clients.push(this.#connect(`c${i + 1}`));
    for (let i = 0; i < lanes; i++) this.#clients[i % clients]?.addLane({ calls, pauseMs });
    if (this.#random.next() < READERS) this.#random.pick(this.#clients).addLane(READER);
    for (const [kind, id] of WATCHED)
      if (this.#random.next() < WATCHERS) this.#random.pick(this.#clients).watch(kind, id);
  }

  #connect(name: string): SimClient {
    const random = this.#random.fork(name);
    const wire = { min: 1, max: random.int(1, GOOD_WIRE_MS) };
    return new SimClient(this.#world, this.#auditor, name, SHARDS, random, wire);
  }

  #brew(): void {
    const random = this.#random.fork("faults");
    const faults = random.int(0, MOST_FAULTS + 1);
    const victims: Victims = {
      clock: this.#clock,
      processes: this.#processes,
      clients: this.#clients,
      setFull: (isFull) => this.#setFull(isFull),
    };
    for (let i = 0; i < faults; i++) this.#clock.setTimeout(() => strike(victims, random), random.int(0, STORMY_MS));
  }

  #setFull(isFull: boolean): void {
    this.#trace.tell("world", () => (isFull ? "JOURNAL FULL" : "JOURNAL HAS ROOM"));
    this.#journalSpec.max_bytes = isFull ? 1 : JOURNAL_MAX_BYTES;
  }

  /** No fault strikes any more, and none lasts. */
  #calm(): void {
    this.#trace.tell("world", () => "CALM");
    for (const one of [...this.#processes, ...this.#clients]) {
      one.thaw();
      one.join();
    }
    for (const one of this.#processes) one.start();
    this.#setFull(false);
  }

  async #advance(ms: number, isDone: () => boolean): Promise<boolean> {
    for (let left = ms; left > 0 && this.#auditor.breaches.length === 0; left -= LOOK_EVERY_MS) {
      if (isDone()) return true;
      await this.#clock.advanceAsync(LOOK_EVERY_MS);
    }
    return isDone();
  }

  #unsettled(): string[] {
    const left = [...this.#auditor.unfinished(), ...this.#clients.flatMap((one) => one.unfinished())];
    if (!this.#processes.some((one) => one.isServing)) left.push("no node serves");
    return left;
  }

  #late(what: string, left: readonly string[]): void {
    if (this.#auditor.breaches.length === 0)
      this.#auditor.breach(
        "all that was accepted ends",
        `${what} is not over after ${SETTLE_MS} ms: ${left.join("; ")}`,
      );
  }

  /** The cluster ends, another one begins on what is stored, and shows all that was committed. */
  async #close(): Promise<void> {
    for (const one of this.#clients) one.end();
    const isKilled = this.#random.next() < 0.5;
    for (const one of this.#processes) {
      one.retire();
      if (isKilled || !one.isServing) one.crash();
      else one.stop();
    }
    const isOver = () => this.#processes.every((one) => !one.isUp);
    if (!(await this.#advance(SETTLE_MS, isOver))) {
      this.#late(
        "a drain",
        this.#processes.filter((one) => one.isUp).map((one) => one.name),
      );
      return;
    }
    this.#trace.tell("world", () => "A NEW CLUSTER");
    const heir = new SimProcess(this.#world, this.#processes.length, this.#random.fork("heir"));
    this.#processes.push(heir);
    heir.start();
    const reader = this.#connect("reader");
    this.#clients.push(reader);
    const unread = new Set([...this.#auditor.books.values()].filter((book) => book.revision > 0));
    for (const book of unread) {
      reader.client
        .query(book.kind.kind, book.address.id, { deadlineMs: SETTLE_MS / 2 })
        .then(({ revision }) => this.#auditor.auditLast(book, revision))
        .catch((error: unknown) => this.defect(error))
        .finally(() => unread.delete(book));
    }
    if (!(await this.#advance(SETTLE_MS, () => unread.size === 0)))
      this.#late(
        "a query",
        [...unread].map((book) => book.key),
      );
    this.#balance();
  }

  #balance(): void {
    let total = 0;
    let expected = 0;
    for (const book of this.#auditor.books.values()) {
      const last = book.at(book.revision);
      if (book.kind.kind !== "account" || last === undefined) continue;
      const { balance, disorder } = last.context as AccountContext;
      total += balance;
      expected += OPENING_BALANCE;
      if (disorder > 0)
        this.#auditor.breach(
          "messages of a pair arrive once and in order",
          `${book.key} saw ${disorder} deposits out of order`,
        );
    }
    if (total !== expected) this.#auditor.breach("money is neither made nor lost", `${total} instead of ${expected}`);
  }
}
