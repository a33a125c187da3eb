/**
 * One process of the simulated cluster: a real node on a clock and a wire of its own. Invariant: a crash leaves nothing
 * behind but what reached the server; a freeze changes nothing but when.
 */
import pino, { type Logger } from "pino";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Node } from "../../runtime/api.ts";
import type { ActorKind } from "../../runtime/define-actor.ts";
import { TroupeError } from "../../runtime/errors.ts";
import { startNodeOn } from "../../runtime/node.ts";
import type { Broker } from "../../runtime/port.ts";
import type { MemoryBroker, MemoryWorld } from "../../runtime/port-memory.ts";
import type { SimClock } from "../../runtime/testkit/sim-clock.ts";
import type { Random } from "../fault/support/random.ts";
import { type Host, makeKinds } from "./kinds.ts";
import { ProcessClock } from "./process-clock.ts";
import type { Trace } from "./trace.ts";
import { lagging, repeating } from "./wire.ts";

/** A process that could not start is started again after this, in ms. */
const RESTART_AFTER_MS = 300;
/** Wall clocks of hosts differ by this at most, in ms. */
const MAX_SKEW_MS = 250;
/** Part of the requests that the wire brings twice. */
const REPEATS = 0.05;
/** Part of the places whose nodes are warm standbys. */
const STANDBYS = 0.5;

/** A server without a leader sets followers up late, though it carries messages, in ms. */
const READERS_BACK_MS = { min: 1, max: 800 };

/** One way of a process's wire, in ms. The faults change it. */
export interface Wire {
  min: number;
  max: number;
}

export interface ProcessWorld {
  readonly clock: SimClock;
  readonly memory: MemoryWorld;
  readonly trace: Trace;
  readonly namespace: string;
  /** What stands between a node and its connection: the place of planted bugs. */
  readonly wrap: (broker: Broker, clock: ProcessClock) => Broker;
  /** The server tells of a connection that came or ended, where nodes may hear it; the time is the server's. */
  readonly tellConnection: (event: "connects" | "disconnects", connection: string, reason: string) => void;
  readonly onWork: (process: SimProcess, session: string) => void;
  /** A defect: what no fault explains. */
  readonly onDefect: (error: unknown) => void;
}

interface Slot {
  host: Host | undefined;
  readonly kinds: readonly ActorKind[];
}

/** Machines are made once per place in the cluster, not once per history: histories follow one another. */
const slots: Slot[] = [];

function slotOf(place: number): Slot {
  let slot = slots[place];
  if (slot === undefined) {
    const made: Slot = {
      host: undefined,
      kinds: makeKinds(() => {
        if (made.host === undefined) throw new RangeError(`No process runs at place ${place}`);
        return made.host;
      }),
    };
    slots[place] = slot = made;
  }
  return slot;
}

export class SimProcess {
  readonly name: string;
  readonly place: number;
  readonly wire: Wire = { min: 1, max: 2 };
  readonly #isStandby: boolean;
  readonly #world: ProcessWorld;
  readonly #random: Random;
  #clock: ProcessClock | undefined;
  #broker: MemoryBroker | undefined;
  #node: Node | undefined;
  #starts = 0;
  #isRetired = false;
  #stopping: Promise<void> | undefined;

  constructor(world: ProcessWorld, place: number, random: Random) {
    this.name = `n${place + 1}`;
    this.place = place;
    this.#world = world;
    this.#random = random;
    this.#isStandby = random.fork("standby").next() < STANDBYS;
  }

  /** It runs: it may be frozen, cut off, starting or stopping. */
  get isUp(): boolean {
    return this.#clock !== undefined;
  }

  get isServing(): boolean {
    return this.#node !== undefined && this.#stopping === undefined;
  }

  get isFrozen(): boolean {
    return this.#clock?.isFrozen === true;
  }

  get isCut(): boolean {
    return this.#broker?.status === "disconnected";
  }

  /** Nobody starts it again, whatever was planned. */
  retire(): void {
    this.#isRetired = true;
  }

  start(): void {
    if (this.isUp || this.#isRetired) return;
    const { clock: world, memory, trace, namespace, wrap } = this.#world;
    const random = this.#random.fork(`start-${this.#starts++}`);
    const clock = new ProcessClock(world, random, random.int(-MAX_SKEW_MS, MAX_SKEW_MS));
    const broker = memory.connect(this.name, {
      clock,
      latencyMs: this.wire,
      readersBackMs: READERS_BACK_MS,
    });
    const slot = slotOf(this.place);
    slot.host = { clock, onWork: (session) => this.#world.onWork(this, session) };
    [this.#clock, this.#broker] = [clock, broker];
    trace.tell(this.name, () => "starts");
    const late = lagging(broker, clock, random.fork("lags"), makeNames({ namespace }).stream.journal);
    startNodeOn(wrap(repeating(late, clock, random.fork("repeats"), REPEATS), clock), {
      name: this.name,
      kinds: slot.kinds,
      namespace,
      clock,
      standby: this.#isStandby,
      log: this.#logger(),
    }).then(
      (node) => {
        if (this.#clock === clock) this.#node = node;
      },
      (error: unknown) => this.#failedToStart(clock, error),
    );
  }

  /** As SIGKILL would. */
  crash(): void {
    if (!this.isUp) return;
    this.#world.trace.tell(this.name, () => "CRASH");
    this.#end("Client Closed");
  }

  /** As SIGTERM would: drains, leaves, ends. */
  stop(): void {
    const [node, clock] = [this.#node, this.#clock];
    if (node === undefined || clock === undefined || this.#stopping !== undefined) return;
    this.#world.trace.tell(this.name, () => "DRAIN");
    this.#stopping = node.stop().then(
      () => {
        this.#world.trace.tell(this.name, () => "left");
        if (this.#clock === clock) this.#end("Client Closed");
      },
      (error: unknown) => this.#world.onDefect(error),
    );
  }

  freeze(): void {
    this.#world.trace.tell(this.name, () => "FREEZE");
    this.#clock?.freeze();
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.#world.trace.tell(this.name, () => "THAW");
    this.#clock?.thaw();
  }

  cut(options: { readonly lose: "request" | "ack"; readonly noticed: boolean }): void {
    this.#world.trace.tell(this.name, () => `CUT OFF ${JSON.stringify(options)}`);
    const wasCut = this.isCut;
    this.#broker?.partition(options);
    if (options.noticed && !wasCut && this.#broker !== undefined)
      this.#world.tellConnection(
        "disconnects",
        this.#broker.name,
        this.#random.pick(["Read Error", "Stale Connection"]),
      );
  }

  join(): void {
    if (!this.isCut) return;
    this.#world.trace.tell(this.name, () => "CONNECTED AGAIN");
    this.#broker?.heal();
    this.#world.tellConnection("connects", this.#broker?.name ?? "", "");
  }

  loseAppends(lose: "request" | "ack", count: number): void {
    this.#world.trace.tell(this.name, () => `LOSES the next ${count} appends (${lose})`);
    this.#broker?.failAppends(lose, count);
  }

  #failedToStart(clock: ProcessClock, error: unknown): void {
    if (this.#clock !== clock) return;
    this.#world.trace.tell(this.name, () => `did not start: ${String(error)}`);
    if (!(error instanceof TroupeError)) this.#world.onDefect(error);
    this.#end("Client Closed");
    this.#world.clock.setTimeout(() => this.start(), RESTART_AFTER_MS);
  }

  #end(reason: string): void {
    this.#clock?.die();
    this.#broker?.kill();
    this.#world.tellConnection("disconnects", this.#broker?.name ?? "", reason);
    this.#clock = this.#broker = this.#node = this.#stopping = undefined;
  }

  #logger(): Logger {
    const { trace } = this.#world;
    if (!trace.isOn) return SILENT;
    const write = (line: string) => {
      const {
        msg,
        err,
        level,
        time: _time,
        pid: _pid,
        hostname: _host,
        node: _node,
        ...rest
      } = JSON.parse(line) as {
        readonly [key: string]: unknown;
        readonly err?: { readonly message?: string };
      };
      const cause = err?.message === undefined ? "" : `: ${err.message}`;
      const facts = Object.keys(rest).length === 0 ? "" : ` ${JSON.stringify(rest)}`;
      trace.tell(this.name, () => `${(level as number) >= 40 ? "! " : ""}${String(msg)}${cause}${facts}`);
    };
    return pino({ level: "info" }, { write });
  }
}

const SILENT = pino({ level: "silent" });
