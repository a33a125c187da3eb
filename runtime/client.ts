/**
 * The way in for everybody: durable calls, queries, live views. Invariant: `tell` and `ask` take effect at most once, and
 * exactly once when they resolve, through any fail-over.
 */
import { makeNames, type Names } from "../nats-config/subjects.ts";
import { checkAddress, shardOf } from "./address.ts";
import type {
  ActorPage,
  ActorView,
  Audit,
  CallOptions,
  Client,
  DeadLetter,
  HistoryEntry,
  KindOf,
  ListedActor,
  NodeFilter,
  NodeInfo,
  QueryOptions,
  RecentActor,
  RetryOptions,
} from "./api.ts";
import { Calls, checkDeadline } from "./calls.ts";
import { type Clock, systemClock } from "./clock.ts";
import { awaitClusterFacts } from "./cluster-facts.ts";
import { decode, encode } from "./codec.ts";
import { type DeskDeps, readDeadLetter, readDeadLetters, retryDeadLetter, skipDeadLetter } from "./dead-desk.ts";
import { askNodes, discover } from "./discovery.ts";
import { type EventLike, Tag } from "./envelope.ts";
import { CorruptRecordError } from "./errors.ts";
import { explainPlacement, type PlacementReport } from "./explain.ts";
import type { Shard } from "./families.ts";
import { readHistory, toEntry } from "./history.ts";
import { LIST_LIMIT } from "./limits.ts";
import type { Broker } from "./port.ts";
import { connectBroker } from "./port-nats.ts";
import { type ChangedActors, recentActors } from "./recent.ts";
import { watchActor } from "./watch.ts";

export interface ConnectOptions {
  /** Comma list or array of NATS URLs. */
  readonly servers: string | readonly string[];
  readonly namespace?: string;
  readonly deviceRoot?: string;
  /** Shown by the server's monitoring. */
  readonly name?: string;
  readonly clock?: Clock;
  /** How long to wait for the server and a first node, in ms. Default 5,000. */
  readonly waitMs?: number;
}

/**
 * Connects to a cluster.
 * @throws {BrokerUnavailableError} No server, or no node has ever started in this namespace.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const clock = options.clock ?? systemClock;
  const waitMs = options.waitMs ?? 5_000;
  const broker = await connectBroker({
    servers: options.servers,
    clock,
    waitMs,
    ...(options.name !== undefined && { name: options.name }),
  });
  try {
    const names = makeNames(options);
    const { shards } = await awaitClusterFacts(broker, names, clock, waitMs);
    return new TroupeClient(broker, names, shards, clock, () => broker.close());
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** A client on a connection that somebody else closes. */
export function clientOn(broker: Broker, names: Names, shards: number, clock: Clock): Client {
  return new TroupeClient(broker, names, shards, clock, () => Promise.resolve());
}

class TroupeClient implements Client {
  readonly broker: Broker;
  readonly names: Names;
  readonly shards: number;
  readonly #clock: Clock;
  readonly #calls: Calls;
  readonly #onClose: () => Promise<void>;

  constructor(broker: Broker, names: Names, shards: number, clock: Clock, onClose: () => Promise<void>) {
    this.broker = broker;
    this.names = names;
    this.shards = shards;
    this.#clock = clock;
    this.#calls = new Calls(broker, clock, names, shards);
    this.#onClose = onClose;
    broker.subscribe(names.opened, ({ data }) => this.#calls.opened(shardsIn(data)));
  }

  async tell(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<void> {
    await this.#calls.send({ lane: "act", kind, id }, Tag.Tell, event, options);
  }

  ask(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<unknown> {
    return this.#calls.send({ lane: "act", kind, id }, Tag.Ask, event, options);
  }

  async abort(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<void> {
    const urgent = { ...options, priority: "critical" } as const;
    await this.#calls.send({ lane: "control", kind, id }, Tag.Tell, event, urgent);
  }

  async query(kind: KindOf, id: string, options: QueryOptions = {}): Promise<ActorView> {
    const body = options.allowStale === true ? encode({ stale: true }) : EMPTY;
    return await this.#query(this.#calls.subjectOf({ lane: "query", kind, id }), body, options);
  }

  watch(kind: KindOf, id: string, options: { readonly signal: AbortSignal }): AsyncIterable<ActorView> {
    const subject = this.#calls.subjectOf({ lane: "query", kind, id });
    return watchActor({
      broker: this.broker,
      clock: this.#clock,
      signal: options.signal,
      query: (body) => this.#query(subject, body, options),
    });
  }

  async list(kind: string): Promise<ListedActor[]> {
    checkAddress(kind, "x");
    const [stored, live] = await Promise.all([
      this.broker.subjects(this.names.stream.snapshot, this.names.snapshotsOfKind(kind)),
      askNodes<{ node: string; ids: string[] }>(this.broker, this.names, { list: kind }),
    ]);
    const found = new Map<string, ListedActor>();
    for (const subject of stored.keys()) {
      const id = subject.slice(subject.lastIndexOf(".") + 1);
      found.set(id, { kind, id, node: null });
    }
    for (const { node, ids } of live) for (const id of ids) found.set(id, { kind, id, node });
    return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, LIST_LIMIT);
  }

  async recent(kind: string, page: ActorPage): Promise<RecentActor[]> {
    checkAddress(kind, "x");
    const askChanged = () => askNodes<ChangedActors>(this.broker, this.names, { changed: kind });
    return await recentActors({ broker: this.broker, names: this.names, askChanged }, kind, page);
  }

  async nodes(filter: NodeFilter = {}): Promise<NodeInfo[]> {
    return await discover(this.broker, this.names, filter);
  }

  async explainPlacement(kind: string, id: string): Promise<PlacementReport> {
    return await explainPlacement(this.broker, this.names, this.shards, kind, id);
  }

  async history(kind: string, id: string): Promise<HistoryEntry[]> {
    checkAddress(kind, id);
    // What the owner still holds in memory has not reached the history stream: it is asked to write it first.
    await this.#calls.exchange(
      this.names.query(shardOf(kind, id, this.shards), kind, id),
      encode({ save: true }),
      checkDeadline(undefined),
    );
    return (await readHistory(this.broker, this.names, kind, id)).map(toEntry);
  }

  async deadLetters(options: { readonly limit?: number } = {}): Promise<DeadLetter[]> {
    return await readDeadLetters(this, options.limit ?? 1_000);
  }

  async deadLetter(seq: number): Promise<DeadLetter> {
    return await readDeadLetter(this, seq);
  }

  async retryDeadLetter(seq: number, options: RetryOptions): Promise<unknown> {
    return await retryDeadLetter(this.#desk, seq, options);
  }

  async skipDeadLetter(seq: number, audit: Audit): Promise<void> {
    await skipDeadLetter(this.#desk, seq, audit);
  }

  async resume(kind: KindOf, id: string, { by, why }: Audit): Promise<unknown> {
    return await this.#desk.command(typeof kind === "string" ? kind : kind.kind, id, {
      type: "control.resume",
      by,
      why,
    });
  }

  get #desk(): DeskDeps {
    return {
      broker: this.broker,
      names: this.names,
      clock: this.#clock,
      command: async (kind, id, command, sender) => {
        const from = sender === undefined ? {} : { from: { sender, seq: 1, low: 1 } };
        return await this.#calls.send({ lane: "control", kind, id }, Tag.Control, { ...command }, from);
      },
    };
  }

  async close(): Promise<void> {
    await this.#onClose();
  }

  async #query(
    subject: string,
    body: Uint8Array,
    options: Pick<CallOptions, "deadlineMs" | "signal">,
  ): Promise<ActorView> {
    return (await this.#calls.exchange(subject, body, checkDeadline(options.deadlineMs), options.signal)) as ActorView;
  }
}

/** Shards that a message names; none if it is no node's. */
function shardsIn(data: Uint8Array): ReadonlySet<Shard> {
  try {
    const shards = decode(data);
    return new Set(Array.isArray(shards) ? (shards as Shard[]) : []);
  } catch (error) {
    if (!(error instanceof CorruptRecordError)) throw error;
    return new Set();
  }
}

const EMPTY = new Uint8Array(0);
