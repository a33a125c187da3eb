/**
 * One life of a node: lease, journal, engine and shards, from join to leave, seal or loss. Invariant: an incarnation never
 * comes back; what it had not committed when it ended never happened.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { keyOf } from "./address.ts";
import { type Clock, steadyClock, type TimerHandle } from "./clock.ts";
import { decode, encode } from "./codec.ts";
import { Engine } from "./engine.ts";
import { encodeError } from "./envelope.ts";
import { BusyError, PayloadError, TroupeError } from "./errors.ts";
import { Evictions } from "./evictions.ts";
import { isInbox } from "./inbox.ts";
import { JANITOR_EVERY_MS, sweepJournals } from "./janitor.ts";
import { Journal } from "./journal.ts";
import { type MemberFacts, memberKey, Membership } from "./membership.ts";
import { Ownership } from "./ownership.ts";
import { passivateIdle } from "./passivation.ts";
import type { Broker, InboundMessage, StoredMessage, Subscription } from "./port.ts";
import type { Query } from "./queries.ts";
import type { RunnableKind } from "./runnable.ts";
import { ShardTable } from "./shard-table.ts";
import { wakeNamed } from "./wake.ts";

/** How often dirty actors are stored and idle ones passivated, in ms. */
const SWEEP_EVERY_MS = 500;

export interface IncarnationOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly shards: number;
  readonly facts: MemberFacts;
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly verifyDeterminism: boolean;
  readonly sendRemote: (kind: string, id: string, body: Uint8Array) => Promise<Uint8Array>;
  readonly onShards: (gained: readonly number[], lost: readonly number[]) => void;
  readonly onFailed: (error: unknown) => void;
}

export class Incarnation {
  readonly engine: Engine;
  readonly membership: Membership;
  readonly #o: IncarnationOptions;
  readonly #me: string;
  readonly #ownership: Ownership;
  readonly #table: ShardTable;
  readonly #closed = new AbortController();
  readonly #evictions: Evictions;
  readonly #subscriptions = new Map<number, Subscription[]>();
  #wakes: { readonly shards: Set<number>; readonly subscription: Subscription }[] = [];
  #sweepTimer: TimerHandle | undefined;
  #janitorTimer: TimerHandle | undefined;
  #failed = false;

  constructor(given: IncarnationOptions) {
    const options = { ...given, clock: steadyClock(given.clock) };
    const { broker, clock, names, facts, shards, log } = options;
    this.#o = options;
    this.#me = memberKey(facts);
    const fail = (error: unknown) => this.#fail(error);
    const journal = new Journal({
      broker,
      clock,
      stream: names.stream.journal,
      subject: names.journal(facts.name, facts.incarnation),
      closed: this.#closed.signal,
    });
    this.#table = new ShardTable(broker, names, log);
    this.membership = new Membership({
      broker,
      clock,
      names,
      facts,
      onChange: () => void this.#ownership.reconcile(),
      onSilent: (key) => this.#evictions.onSilent(key),
      onLapse: () => this.engine.fence(false),
      onLost: fail,
    });
    this.#evictions = new Evictions({
      ...options,
      me: this.#me,
      membership: this.membership,
      onEvicted: () => void this.#ownership.reconcile(),
      onFailed: fail,
    });
    this.engine = new Engine({
      ...options,
      node: facts.name,
      journal,
      closed: this.#closed.signal,
      mayAct: () => this.membership.isGood,
      onFailed: fail,
    });
    this.#ownership = new Ownership({
      broker,
      clock,
      names,
      log,
      shards,
      me: this.#me,
      membership: this.membership,
      table: this.#table,
      engine: this.engine,
      open: (gained) => this.#open(gained),
      close: (lost) => this.#close(lost),
      onShards: options.onShards,
      onFailed: fail,
    });
  }

  /** Joins and takes its share. `evictFormer`: seal what an earlier process of the same name left. */
  async start(evictFormer: boolean): Promise<void> {
    await this.membership.look();
    if (evictFormer) await this.#evictFormer();
    await this.membership.join();
    await this.#table.open(() => void this.#ownership.reconcile());
    await this.#ownership.start();
    this.#scheduleSweep();
    this.#scheduleJanitor();
  }

  /** Gives everything away and leaves. */
  async drain(): Promise<void> {
    await this.#ownership.stop(true);
    await this.membership.leave();
    this.abandon();
  }

  /** Ends at once: subscriptions, timers, invocations. What is not committed is void. */
  abandon(): void {
    this.#closed.abort();
    this.#o.clock.clearTimeout(this.#sweepTimer);
    this.#o.clock.clearTimeout(this.#janitorTimer);
    this.#evictions.stop();
    this.membership.stop();
    this.#table.close();
    void this.#ownership.stop(false);
    this.#close([...this.#subscriptions.keys()]);
    for (const activation of [...this.engine.activations.values()]) this.engine.drop(activation);
    this.engine.owned.clear();
  }

  #fail(error: unknown): void {
    if (this.#failed || this.#closed.signal.aborted) return;
    this.#failed = true;
    this.#o.onFailed(error);
  }

  async #evictFormer(): Promise<void> {
    for (const [key, member] of [...this.membership.members])
      if (member.name === this.#o.facts.name) await this.#evictions.evict(key, "its name has a new process");
  }

  async #open(shards: readonly number[]): Promise<void> {
    const { broker, names } = this.#o;
    for (const shard of shards) {
      if (this.#subscriptions.has(shard)) continue; // of an attempt that failed further down
      this.#subscriptions.set(shard, [
        broker.subscribe(names.actOfShard(shard), (message) => this.#onMessage(message)),
        broker.subscribe(names.queryOfShard(shard), (message) => this.#onQuery(message)),
        broker.subscribe(names.controlOfShard(shard), (message) => this.#onControl(message)),
      ]);
    }
    broker.publish(names.opened, encode([...shards]));
    const subjects = shards.map((shard) => names.wakeOfShard(shard));
    const subscription = await broker.follow(names.stream.wake, { subjects, from: "all" }, (message) =>
      this.#onWake(message),
    );
    this.#wakes.push({ shards: new Set(shards), subscription });
  }

  #close(shards: readonly number[]): void {
    for (const shard of shards) {
      for (const subscription of this.#subscriptions.get(shard) ?? []) subscription.unsubscribe();
      this.#subscriptions.delete(shard);
    }
    for (const wake of this.#wakes) for (const shard of shards) wake.shards.delete(shard);
    for (const wake of this.#wakes) if (wake.shards.size === 0) wake.subscription.unsubscribe();
    this.#wakes = this.#wakes.filter((wake) => wake.shards.size > 0);
  }

  #onMessage(message: InboundMessage): void {
    const { kind, id, respond } = this.#route(message);
    // The connection's buffer is only lent, and the body lives on in the round and the history.
    this.engine.receive(kind, id, Buffer.from(message.data), respond);
  }

  #onQuery(message: InboundMessage): void {
    const { kind, id, respond } = this.#route(message);
    if (!this.membership.isGood) return; // may be stale: somebody else may own the shard
    try {
      this.engine.queries.ask(kind, id, queryIn(message.data), respond);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
  }

  #onControl(message: InboundMessage): void {
    const { kind, id, respond } = this.#route(message);
    const body = Buffer.from(message.data);
    this.engine.abort(kind, id, body);
    this.engine.receive(kind, id, body, respond);
  }

  #onWake(message: StoredMessage): void {
    const { kind, id } = partsOf(message.subject);
    try {
      // The message stays until the actor leaves memory again: by then its timers are stored, or scheduled anew.
      const activation = this.engine.activate(kind, id);
      activation.wakeSeq = message.seq;
      if (activation.phase === "loading") this.engine.unwoken.add(activation.key); // the stream does not say it again
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      if (error instanceof BusyError) this.engine.unwoken.add(keyOf(kind, id));
      else if (!error.retryable) this.#o.log.error({ err: error, kind, id }, "Actor cannot be woken for its timer");
    }
  }

  #route(message: InboundMessage): { kind: string; id: string; respond: (answer: Uint8Array) => void } {
    const { reply } = message;
    const { broker } = this.#o;
    const isAwaited = reply !== undefined && isInbox(reply);
    const respond = isAwaited ? (answer: Uint8Array) => broker.answer(reply, answer) : () => undefined;
    return { ...partsOf(message.subject), respond };
  }

  /** Every node does it now and then: it is idempotent, and jitter keeps them apart. */
  #scheduleJanitor(): void {
    const { broker, clock, names, log } = this.#o;
    const isLive = (subject: string) =>
      [...this.membership.members.values()].some(
        ({ name, incarnation }) => names.journal(name, incarnation) === subject,
      );
    this.#janitorTimer = clock.setTimeout(
      () => {
        sweepJournals(broker, names, this.#table, isLive)
          .catch((error: unknown) => log.warn({ err: error }, "Ended journals not freed: next time"))
          .finally(() => {
            if (!this.#closed.signal.aborted) this.#scheduleJanitor();
          });
      },
      JANITOR_EVERY_MS * (0.5 + clock.random()),
    );
  }

  #scheduleSweep(): void {
    this.#sweepTimer = this.#o.clock.setTimeout(() => {
      if (this.#closed.signal.aborted) return;
      this.engine.fence(this.membership.isGood);
      if (this.membership.isGood) {
        wakeNamed(this.engine);
        this.engine.saver.sweep();
        passivateIdle(this.engine);
      }
      this.#scheduleSweep();
    }, SWEEP_EVERY_MS);
  }
}

/** Subjects to actors are `<ns>.<lane>.<shard>.<kind>.<id>`: neither part holds a dot. */
function partsOf(subject: string): { kind: string; id: string } {
  const end = subject.lastIndexOf(".");
  return { kind: subject.slice(subject.lastIndexOf(".", end - 1) + 1, end), id: subject.slice(end + 1) };
}

/** @throws {PayloadError} Not a query. */
function queryIn(data: Uint8Array): Query {
  if (data.length === 0) return {};
  const query = decode(data) as Query | null;
  const { watch, save } = query ?? {};
  const isValid =
    (watch === undefined || (typeof watch === "string" && isInbox(watch))) && (save === undefined || save === true);
  if (!isValid) throw new PayloadError("The query is malformed: send nothing, { watch: <inbox> } or { save: true }");
  return { ...(watch !== undefined && { watch }), ...(save !== undefined && { save }) };
}
