/**
 * The way in for everybody: durable calls, queries, live views. Invariant: `tell` and `ask` take effect at most once, and
 * exactly once when they resolve, through any fail-over.
 */
import { makeNames, type Names } from "../nats-config/subjects.ts";
import { checkAddress, shardOf } from "./address.ts";
import type {
  ActorPage,
  ActorView,
  CallOptions,
  Client,
  DeadLetter,
  HistoryEntry,
  KindOf,
  ListedActor,
  NodeInfo,
  RecentActor,
} from "./api.ts";
import { Calls, checkDeadline } from "./calls.ts";
import { type Clock, systemClock } from "./clock.ts";
import { awaitClusterFacts } from "./cluster-facts.ts";
import { decode, encode } from "./codec.ts";
import { decodeAnswer, type EventLike, Tag } from "./envelope.ts";
import { CorruptRecordError, TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { readDeadLetters, readHistory, toEntry } from "./history.ts";
import { LIST_LIMIT } from "./limits.ts";
import { MAX_NODES, readMember } from "./membership.ts";
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

/** Patience with one node's own answer, in ms. */
const NODE_TIMEOUT_MS = 1_000;

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
    this.#calls = new Calls(broker, clock);
    this.#onClose = onClose;
    broker.subscribe(names.opened, ({ data }) => this.#calls.opened(shardsIn(data)));
  }

  async tell(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<void> {
    await this.#calls.send(this.#subject("act", kind, id), Tag.Tell, event, options);
  }

  async ask(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<unknown> {
    return await this.#calls.send(this.#subject("act", kind, id), Tag.Ask, event, options);
  }

  async abort(kind: KindOf, id: string, event: EventLike, options?: CallOptions): Promise<void> {
    await this.#calls.send(this.#subject("control", kind, id), Tag.Tell, event, { ...options, priority: "critical" });
  }

  async query(kind: KindOf, id: string, options: Pick<CallOptions, "deadlineMs" | "signal"> = {}): Promise<ActorView> {
    return await this.#query(this.#subject("query", kind, id), EMPTY, options);
  }

  watch(kind: KindOf, id: string, options: { readonly signal: AbortSignal }): AsyncIterable<ActorView> {
    const subject = this.#subject("query", kind, id);
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
      this.#askNodes<{ node: string; ids: string[] }>({ list: kind }),
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
    const askChanged = () => this.#askNodes<ChangedActors>({ changed: kind });
    return await recentActors({ broker: this.broker, names: this.names, askChanged }, kind, page);
  }

  async nodes(): Promise<NodeInfo[]> {
    const infos = await this.#askNodes<NodeInfo>({ info: true });
    return infos.sort((a, b) => (a.name < b.name ? -1 : 1));
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
    return await readDeadLetters(this.broker, this.names, options.limit ?? 1_000);
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

  #subject(lane: "act" | "query" | "control", kind: KindOf, id: string): string {
    const name = typeof kind === "string" ? kind : kind.kind;
    checkAddress(name, id);
    return this.names[lane](shardOf(name, id, this.shards), name, id);
  }

  /** Asks every live incarnation; one that does not answer is left out. */
  async #askNodes<T>(question: object): Promise<T[]> {
    const { stream, key } = this.names.kv.nodes;
    const members = await this.broker.readLast(stream, key(">"), MAX_NODES);
    const body = encode(question);
    const answers = await Promise.all(
      members.map(async ({ subject, data }) => {
        const member = readMember(subject.slice(key("").length), data);
        if (member === null) return undefined; // one that left, or no node's
        try {
          return decodeAnswer(await this.broker.request(this.names.node(member.name), body, NODE_TIMEOUT_MS)) as T;
        } catch (error) {
          if (error instanceof TroupeError && error.retryable) return undefined; // just died: its lease will tell
          throw error;
        }
      }),
    );
    return answers.filter((answer) => answer !== undefined);
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
