/**
 * Another node's journal as its standby follows it, and the shadows of the shards that the standby would inherit. Invariant: of a
 * followed shard every committed input up to `position` is in a shadow, or a stored snapshot covers it.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { Activation } from "./activation.ts";
import { addressOf } from "./address.ts";
import type { Clock } from "./clock.ts";
import { CorruptRecordError, TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { SHADOW_RENEW_MS, STANDBY_MAX_ACTORS, STANDBY_MAX_BYTES } from "./limits.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";
import { decodeRecord, type JournalInput } from "./round.ts";
import type { RunnableKind } from "./runnable.ts";
import { Shadow } from "./shadow.ts";
import type { ShardRecord, ShardTable } from "./shard-table.ts";
import { loadState } from "./snapshots.ts";

/** Snapshots loaded at once: a standby takes its time, others serve. */
const LOADS_AT_ONCE = 16;

/** What all journals of a standby hold together. */
export interface Holding {
  actors: number;
  bytes: number;
}

export interface ShadowJournalOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly shardOf: (kind: string, id: string) => Shard;
  readonly table: ShardTable;
  readonly subject: string;
  /** The shards to follow, as their records are: each names this journal alone. */
  readonly shards: ReadonlyMap<Shard, ShardRecord>;
  readonly holding: Holding;
}

/** What a new owner takes over of one shard. */
export interface ShardShadows {
  /** Every input up to here is in them, or covered by a stored snapshot. */
  readonly position: number;
  readonly actors: ReadonlyMap<string, Shadow>;
}

interface Followed {
  /** As of the beginning. Its epoch stays while the owner does; what its checkpoint covers is passed over. */
  readonly record: ShardRecord;
  readonly actors: Map<string, Shadow>;
}

export class ShadowJournal {
  readonly #o: ShadowJournalOptions;
  readonly #followed = new Map<Shard, Followed>();
  /** Epochs of the shards that it began with and that it may give up, but does not leave. */
  readonly #began = new Map<Shard, number>();
  #toLoad: Shadow[] = [];
  #loading = 0;
  #following: Subscription | undefined;
  #isStopped = false;
  /** Of the last round that was taken. */
  #position = 0;
  #roundNo = 0;
  /** Monotonic ms when a shard was given up, 0: none. */
  gaveUpAtMs = 0;

  constructor(options: ShadowJournalOptions) {
    this.#o = options;
    for (const [shard, record] of options.shards) {
      this.#began.set(shard, record.epoch);
      this.#followed.set(shard, { record, actors: new Map() });
    }
  }

  /** @throws {BrokerUnavailableError} Not followed: begin anew. */
  async start(): Promise<void> {
    const { broker, names, subject } = this.#o;
    const options = { subjects: [subject], from: "all" } as const;
    this.#following = await broker.follow(names.stream.journal, options, (message) => this.#onMessage(message));
    if (this.#isStopped) this.#following.unsubscribe();
  }

  stop(): void {
    this.#isStopped = true;
    this.#following?.unsubscribe();
    for (const shard of [...this.#followed.keys()]) this.#drop(shard);
  }

  /** It follows the shard as this owner has it, or gave it up. */
  hasBegun(shard: Shard, { epoch }: ShardRecord): boolean {
    return this.#began.get(shard) === epoch;
  }

  /** Leaves all shards but these. */
  keep(shards: ReadonlyMap<Shard, ShardRecord>): void {
    for (const shard of this.#began.keys()) {
      if (shards.has(shard)) continue;
      this.#drop(shard);
      this.#began.delete(shard);
    }
  }

  /**
   * Hands over the shadows of a shard whose journal is sealed; undefined: there are none to rely on. `record`: of the former owner.
   * What its checkpoint covers may be gone from the journal, so one that is not there yet cannot read on.
   */
  take(shard: Shard, record: ShardRecord): ShardShadows | undefined {
    const followed = this.#followed.get(shard);
    if (followed === undefined) return undefined;
    this.#drop(shard);
    if (followed.record.epoch !== record.epoch || this.#position < record.checkpoint) return undefined;
    return { position: this.#position, actors: followed.actors };
  }

  /** Lets go of what checkpoints passed, and renews what is old. */
  sweep(): void {
    const renewBeforeMs = this.#o.clock.monotonic() - SHADOW_RENEW_MS;
    for (const [shard, { actors }] of this.#followed) {
      const checkpoint = this.#o.table.entries.get(shard)?.record.checkpoint ?? 0;
      for (const [key, shadow] of actors) {
        if (shadow.lastSeq <= checkpoint) {
          actors.delete(key);
          this.#forget(shadow);
        } else if (shadow.askedAtMs <= renewBeforeMs) this.#load(shadow);
      }
    }
  }

  #onMessage({ seq, data }: StoredMessage): void {
    if (this.#isStopped) return;
    try {
      const record = decodeRecord(data);
      if (record.type === "seal") return; // who takes over reads up to it
      // Rounds that were purged before they came are stored, and all before them: only what comes from now on is not.
      if (this.#roundNo > 0 && record.no !== this.#roundNo + 1) this.#beginAnew();
      for (const input of record.inputs) this.#take(seq, input);
      this.#roundNo = record.no;
      this.#position = seq;
    } catch (error) {
      if (!(error instanceof CorruptRecordError)) throw error;
      this.#o.log.error(
        { err: error, journal: this.#o.subject },
        "A journal cannot be followed: there is no standby for it",
      );
      this.stop();
    }
  }

  #beginAnew(): void {
    for (const [shard, { record }] of [...this.#followed]) {
      this.#drop(shard);
      this.#followed.set(shard, { record, actors: new Map() });
    }
  }

  #take(seq: number, input: JournalInput): void {
    const { kinds, holding, shardOf } = this.#o;
    const [, key, body] = input;
    const address = addressOf(key);
    const shard = shardOf(address.kind, address.id);
    const followed = this.#followed.get(shard);
    if (followed === undefined || seq <= followed.record.checkpoint) return;
    let shadow = followed.actors.get(key);
    const kind = kinds.get(address.kind);
    const isFull = holding.bytes + body.length > STANDBY_MAX_BYTES;
    if (kind === undefined || isFull || (shadow === undefined && holding.actors >= STANDBY_MAX_ACTORS)) {
      this.#giveUp(shard);
      return;
    }
    if (shadow === undefined) {
      shadow = new Shadow(new Activation(address, shard, kind));
      followed.actors.set(key, shadow);
      holding.actors++;
      this.#load(shadow);
    }
    const before = shadow.bytes;
    shadow.take(seq, input);
    holding.bytes += shadow.bytes - before;
  }

  #giveUp(shard: Shard): void {
    const { clock, log, subject } = this.#o;
    this.#drop(shard);
    if (this.gaveUpAtMs === 0)
      log.warn(
        { shard, journal: subject },
        "Shards go without a standby: it holds all it may, or does not host a kind",
      );
    this.gaveUpAtMs = clock.monotonic();
  }

  #drop(shard: Shard): void {
    for (const shadow of this.#followed.get(shard)?.actors.values() ?? []) this.#forget(shadow);
    this.#followed.delete(shard);
  }

  #forget(shadow: Shadow): void {
    this.#o.holding.actors--;
    this.#o.holding.bytes -= shadow.bytes;
  }

  #load(shadow: Shadow): void {
    shadow.askedAtMs = this.#o.clock.monotonic();
    this.#toLoad.push(shadow);
    this.#loadNext();
  }

  #loadNext(): void {
    for (; this.#loading < LOADS_AT_ONCE && this.#toLoad.length > 0; this.#loading++)
      void this.#build(this.#toLoad.shift() as Shadow).finally(() => {
        this.#loading--;
        this.#loadNext();
      });
  }

  /** A state that cannot be had now is asked for again at its next renewal; until then it is left to recovery. */
  async #build(shadow: Shadow): Promise<void> {
    const { clock, log, holding } = this.#o;
    const { activation } = shadow;
    const isHeld = () => this.#followed.get(activation.shard)?.actors.get(activation.key) === shadow;
    if (!isHeld()) return;
    const askedAtMs = clock.monotonic();
    try {
      const stored = await loadState(this.#o, activation.kind, activation.shard, activation.address.id);
      if (!isHeld()) return; // taken over, or let go
      const before = shadow.bytes;
      shadow.build(stored, askedAtMs);
      holding.bytes += shadow.bytes - before;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      log.debug({ err: error, actor: activation.key }, "No shadow of an actor");
    }
  }
}
