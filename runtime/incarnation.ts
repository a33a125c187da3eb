/**
 * One life of a node: lease, journal, engine and shards, from join to leave, seal or loss. Invariant: an incarnation never
 * comes back; what it had not committed when it ended never happened.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { type Clock, steadyClock, type TimerHandle } from "./clock.ts";
import { checkNameFree, takenText } from "./discovery.ts";
import { Doors } from "./doors.ts";
import { Engine } from "./engine.ts";
import { Evictions } from "./evictions.ts";
import type { Shard } from "./families.ts";
import { JANITOR_EVERY_MS, sweepJournals } from "./janitor.ts";
import { Journal } from "./journal.ts";
import type { KindRegistry } from "./kind-registry.ts";
import { type MemberFacts, memberKey, Membership } from "./membership.ts";
import { Ownership } from "./ownership.ts";
import { passivateIdle } from "./passivation.ts";
import type { Broker } from "./port.ts";
import type { RunnableKind } from "./runnable.ts";
import { ShardTable } from "./shard-table.ts";
import { Standby } from "./standby.ts";
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
  /** What this node hosts. */
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly registry: KindRegistry;
  readonly standby: boolean;
  readonly verifyDeterminism: boolean;
  readonly sendRemote: (kind: string, id: string, body: Uint8Array) => Promise<Uint8Array>;
  readonly onShards: (gained: readonly Shard[], lost: readonly Shard[]) => void;
  readonly onFailed: (error: unknown) => void;
}

export class Incarnation {
  readonly engine: Engine;
  readonly membership: Membership;
  readonly #o: IncarnationOptions;
  readonly #me: string;
  readonly #ownership: Ownership;
  readonly #table: ShardTable;
  readonly #doors: Doors;
  readonly #closed = new AbortController();
  readonly #evictions: Evictions;
  readonly #standby: Standby | undefined;
  #sweepTimer: TimerHandle | undefined;
  #janitorTimer: TimerHandle | undefined;
  #failed = false;
  /** Others under this name that were warned of. */
  readonly #warnedOf = new Set<string>();

  constructor(given: IncarnationOptions) {
    const options = { ...given, clock: steadyClock(given.clock) };
    const { broker, clock, names, facts, log, registry } = options;
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
      onChange: () => {
        this.#warnOfRivals();
        void this.#ownership.reconcile();
      },
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
      shardOf: registry.shardOf,
      journal,
      closed: this.#closed.signal,
      mayAct: () => this.membership.isGood,
      epochOf: (shard) => this.#table.epochOf(shard, this.#me),
      mayAnswer: () => this.membership.mayAnswer,
      provenAtMs: () => this.membership.provenAtMs,
      onFailed: fail,
    });
    const { membership } = this;
    if (options.standby) this.#standby = new Standby({ ...options, me: this.#me, membership, table: this.#table });
    this.#ownership = new Ownership({
      ...options,
      me: this.#me,
      membership,
      table: this.#table,
      engine: this.engine,
      standby: this.#standby,
      open: (gained) => this.#doors.open(gained),
      close: (lost) => this.#doors.close(lost),
      onFailed: fail,
    });
    this.#doors = new Doors({
      broker,
      names,
      log,
      registry,
      table: this.#table,
      membership: this.membership,
      engine: this.engine,
      onCreated: () => void this.#ownership.reconcile(),
    });
  }

  /**
   * Joins and takes its share. `evictFormer`: evict what an earlier process of the same name left.
   * @throws {NameTakenError} Another process took the name over and runs.
   */
  async start(evictFormer: boolean): Promise<void> {
    await this.membership.look();
    if (evictFormer) await this.#evictFormer();
    for (const [, rival] of this.#rivals()) await checkNameFree(this.#o.broker, this.#o.names, rival);
    await this.membership.join();
    this.#warnOfRivals();
    await this.#table.open(() => void this.#ownership.reconcile());
    await this.#ownership.start();
    this.#standby?.start();
    this.#scheduleSweep();
    this.#scheduleJanitor();
  }

  /** Owns the shard, or the door to one that nobody asked for yet. */
  answersFor(shard: Shard, door: Shard): boolean {
    return this.engine.owned.has(shard) || (!this.#table.entries.has(shard) && this.engine.owned.has(door));
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
    this.#standby?.stop();
    this.membership.stop();
    this.#table.close();
    void this.#ownership.stop(false);
    this.#doors.closeAll();
    for (const activation of [...this.engine.activations.values()]) this.engine.drop(activation);
    this.engine.owned.clear();
  }

  #fail(error: unknown): void {
    if (this.#failed || this.#closed.signal.aborted) return;
    this.#failed = true;
    this.#o.onFailed(error);
  }

  /** Other processes under this node's name. */
  #rivals(): [key: string, rival: MemberFacts][] {
    const { name, connection } = this.#o.facts;
    return [...this.membership.members].filter(([, each]) => each.name === name && each.connection !== connection);
  }

  /** Two that start at the same time, or of which one did not answer, do not see each other before. Each says so. */
  #warnOfRivals(): void {
    for (const [key, rival] of this.#rivals()) {
      if (this.#warnedOf.has(key)) continue;
      this.#warnedOf.add(key);
      this.#o.log.warn({ rival: key }, takenText(rival));
    }
  }

  async #evictFormer(): Promise<void> {
    for (const [key, member] of [...this.membership.members])
      if (member.name === this.#o.facts.name) {
        await this.membership.evict(key);
        this.#o.log.info({ former: key }, "Evicted the former incarnation of this node's name");
      }
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
