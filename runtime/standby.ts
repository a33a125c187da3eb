/**
 * A warm standby: shadows of the shards that this node would inherit next. Invariant: it only reads; what it knows of a shard
 * is used once, by the owner that has sealed the journal, and only under the epoch and journal that it was gathered for.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import { TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import type { KindRegistry } from "./kind-registry.ts";
import { STANDBY_RETRY_MS } from "./limits.ts";
import type { Membership } from "./membership.ts";
import type { Broker } from "./port.ts";
import type { RunnableKind } from "./runnable.ts";
import { type Holding, ShadowJournal, type ShardShadows } from "./shadow-journal.ts";
import type { ShardRecord, ShardTable } from "./shard-table.ts";
import { rankings } from "./versions.ts";

/** How often it looks at who owns what, and lets go of what is stored, in ms. */
const LOOK_EVERY_MS = 500;

export interface StandbyOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly me: string;
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly registry: KindRegistry;
  readonly membership: Membership;
  readonly table: ShardTable;
}

export class Standby {
  readonly #o: StandbyOptions;
  readonly #journals = new Map<string, ShadowJournal>();
  readonly #holding: Holding = { actors: 0, bytes: 0 };
  #timer: TimerHandle | undefined;
  #isStopped = false;

  constructor(options: StandbyOptions) {
    this.#o = options;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#look();
    this.#timer = this.#o.clock.setTimeout(() => this.start(), LOOK_EVERY_MS);
  }

  stop(): void {
    this.#isStopped = true;
    this.#o.clock.clearTimeout(this.#timer);
    for (const journal of this.#journals.values()) journal.stop();
  }

  /** What a new owner need not read: of a shard that it has won over `record`, after the journals were sealed. */
  take(shard: Shard, record: ShardRecord | undefined): ShardShadows | undefined {
    const [subject, ...others] = record?.journals ?? [];
    if (record === undefined || subject === undefined || others.length > 0) return undefined;
    return this.#journals.get(subject)?.take(shard, record);
  }

  #look(): void {
    const wanted = this.#wanted();
    for (const [subject, journal] of this.#journals) {
      const shards = wanted.get(subject);
      if (shards !== undefined && this.#isEnough(journal, shards)) {
        journal.keep(shards);
        journal.sweep();
      } else {
        journal.stop();
        this.#journals.delete(subject);
      }
    }
    for (const [subject, shards] of wanted) if (!this.#journals.has(subject)) this.#follow(subject, shards);
  }

  /** A shard more is followed from the journal's beginning, so all are; journals are short. */
  #isEnough(journal: ShadowJournal, shards: ReadonlyMap<Shard, ShardRecord>): boolean {
    const now = this.#o.clock.monotonic();
    if (journal.gaveUpAtMs > 0 && now - journal.gaveUpAtMs >= STANDBY_RETRY_MS) return false;
    return [...shards].every(([shard, record]) => journal.hasBegun(shard, record));
  }

  #follow(subject: string, shards: ReadonlyMap<Shard, ShardRecord>): void {
    const { log, registry } = this.#o;
    const journal = new ShadowJournal({
      ...this.#o,
      shardOf: registry.shardOf,
      subject,
      shards,
      holding: this.#holding,
    });
    this.#journals.set(subject, journal);
    journal.start().catch((error: unknown) => {
      if (!(error instanceof TroupeError)) throw error;
      log.warn({ err: error, journal: subject }, "A journal cannot be followed yet: trying again");
      journal.stop();
      if (this.#journals.get(subject) === journal) this.#journals.delete(subject);
    });
  }

  /** By journal, the shards that would come here if their owner were gone, and of which that journal and the snapshots tell all. */
  #wanted(): Map<string, Map<Shard, ShardRecord>> {
    const { me, membership, registry, table } = this.#o;
    const withoutOwner = new Map<string, ReturnType<typeof rankings>>();
    const wanted = new Map<string, Map<Shard, ShardRecord>>();
    for (const [shard, { record }] of table.entries) {
      const { owner, versions, isPinned = false } = record;
      const [subject, ...others] = record.journals;
      if (owner === null || owner === me || !membership.members.has(owner)) continue;
      if (subject === undefined || others.length > 0 || !this.#isOfMyVersion(record)) continue;
      let rankingFor = withoutOwner.get(owner);
      if (rankingFor === undefined) {
        const members = new Map([...membership.members].filter(([key]) => key !== owner));
        withoutOwner.set(owner, (rankingFor = rankings(members, registry.placementOf)));
      }
      if (rankingFor(versions).ownerOf(shard, isPinned) !== me) continue;
      const shards = wanted.get(subject);
      if (shards === undefined) wanted.set(subject, new Map([[shard, record]]));
      else shards.set(shard, record);
    }
    return wanted;
  }

  /** What another version of a kind took, recovery applies, and warns. */
  #isOfMyVersion({ versions = {} }: ShardRecord): boolean {
    return [...this.#o.kinds.values()].every(({ kind, version }) => (versions[kind] ?? 1) === version);
  }
}
