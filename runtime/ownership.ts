/**
 * Taking, keeping and giving away shards. Invariant: a shard is served only between a won compare-and-set of its record and
 * its release or the seal of this node's journal; a dead owner's journal is sealed before its shards are taken.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import { Checkpointer } from "./checkpointer.ts";
import { type Clock, sleep, type TimerHandle } from "./clock.ts";
import type { Engine } from "./engine.ts";
import { RevisionConflictError, SealedError, TroupeError } from "./errors.ts";
import { partsOfShard, type Shard } from "./families.ts";
import { handOver, INVOCATION_GRACE_MS } from "./hand-over.ts";
import { sealJournal } from "./journal.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./limits.ts";
import type { KindRegistry } from "./kind-registry.ts";
import type { Membership } from "./membership.ts";
import type { Broker } from "./port.ts";
import { recoverShards } from "./recovery.ts";
import { settleActors } from "./settle.ts";
import type { ShardEntry, ShardRecord, ShardTable } from "./shard-table.ts";
import type { Standby } from "./standby.ts";
import { newest, rankings, versionsOf } from "./versions.ts";
import { wakeNamed } from "./wake.ts";

/** How often ownership is looked at without an event, in ms: a safety net, not the way. */
const RECONCILE_EVERY_MS = 500;

export interface OwnershipOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly shards: number;
  readonly me: string;
  readonly membership: Membership;
  readonly registry: KindRegistry;
  readonly table: ShardTable;
  readonly engine: Engine;
  readonly standby: Standby | undefined;
  /** Begins and ends delivery for shards. */
  readonly open: (shards: readonly Shard[]) => Promise<void>;
  readonly close: (shards: readonly Shard[]) => void;
  readonly onShards: (gained: readonly Shard[], lost: readonly Shard[]) => void;
  readonly onFailed: (error: unknown) => void;
}

export class Ownership {
  readonly #o: OwnershipOptions;
  /** Shards whose older journals are not yet covered: until a checkpoint passes the seal. */
  readonly #sealedAt = new Map<Shard, number>();
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #timer: TimerHandle | undefined;
  readonly #checkpointer: Checkpointer;

  constructor(options: OwnershipOptions) {
    this.#o = options;
    this.#checkpointer = new Checkpointer({ ...options, sealedAt: this.#sealedAt });
  }

  async start(): Promise<void> {
    await this.reconcile();
    this.#checkpointer.start();
  }

  /** Compares what is owned with what should be, and acts. Calls during a run cause one more run. */
  reconcile(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      this.#o.clock.clearTimeout(this.#timer);
      if (!this.#stopped) this.#timer = this.#o.clock.setTimeout(() => void this.reconcile(), RECONCILE_EVERY_MS);
    });
    return this.#running;
  }

  /** Stops taking shards. With `release`, gives all away in good order: nothing is left to replay. */
  async stop(release: boolean): Promise<void> {
    this.#stopped = true;
    this.#o.clock.clearTimeout(this.#timer);
    this.#checkpointer.stop();
    await this.#running;
    if (!release) return;
    const { membership, engine } = this.#o;
    await membership.announceLeave();
    const graceMs = membership.members.size > 1 ? INVOCATION_GRACE_MS : 0; // alone, nobody could take over meanwhile
    await handOver(engine, [...engine.owned], graceMs, (some) => this.#release(some));
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      try {
        await this.#step();
      } catch (error) {
        if (
          error instanceof SealedError ||
          !(error instanceof TroupeError && (error.retryable || error instanceof RevisionConflictError))
        ) {
          this.#o.onFailed(error);
          return;
        }
        this.#o.log.warn({ err: error }, "Shard ownership is not settled yet: trying again");
      }
    }
  }

  async #step(): Promise<void> {
    const { membership, me, table, registry, engine } = this.#o;
    const rankingFor = rankings(membership.members, registry.placementOf);
    // Without a lease nothing is given away in good order: others may have sealed the journal.
    if (!membership.members.has(me)) throw new SealedError(`The lease of "${me}" ended: this incarnation is over`);
    for (const shard of engine.owned) {
      const owner = table.entries.get(shard)?.record.owner;
      if (owner !== me)
        throw new SealedError(`Shard ${shard} was taken by "${String(owner)}": this incarnation is over`);
    }
    const take: Shard[] = [];
    const give: Shard[] = [];
    for (const shard of this.#shards()) {
      const { owner = null, isPinned = false, versions } = table.entries.get(shard)?.record ?? {};
      const wanted = rankingFor(versions).ownerOf(shard, isPinned);
      if (owner === me) {
        if (!engine.owned.has(shard))
          take.push(shard); // won earlier, recovery failed: again
        else if (wanted !== me) give.push(shard);
      } else if (wanted === me && (owner === null || !membership.members.has(owner))) take.push(shard);
    }
    if (take.length > 0) await this.#take(take);
    if (give.length > 0) await handOver(engine, give, 0, (some) => this.#release(some));
  }

  /** All shards that there are, and those that kinds of this node should have. */
  #shards(): Set<Shard> {
    const { shards, table, engine } = this.#o;
    const all = new Set<Shard>(table.entries.keys());
    for (let shard = 0; shard < shards; shard++) {
      all.add(shard);
      for (const { kind, placement } of engine.options.kinds.values())
        if (placement?.label === null) all.add(`${kind}=${shard}`);
    }
    return all;
  }

  async #take(shards: readonly Shard[]): Promise<void> {
    const { me, broker, names, engine, log, clock, table } = this.#o;
    const startedAt = clock.monotonic();
    const decided = new Map(shards.map((shard) => [shard, table.entries.get(shard)]));
    const journals = new Set(shards.flatMap((shard) => this.#foreignJournals(shard)));
    for (const journal of journals) await sealJournal(broker, names.stream.journal, journal, me);
    const won = (await Promise.all(shards.map((shard) => this.#claim(shard, decided.get(shard))))).filter(
      (shard) => shard !== undefined,
    );
    if (won.length === 0) return;
    const targets = won.map((shard) => ({
      shard,
      checkpoint: this.#record(shard).checkpoint,
      journals: this.#foreignJournals(shard),
      versions: decided.get(shard)?.record.versions ?? {},
      shadows: this.#o.standby?.take(shard, decided.get(shard)?.record),
    }));
    for (const activation of [...engine.activations.values()])
      if (won.includes(activation.shard)) engine.drop(activation); // of a failed attempt
    const sealedAt = await recoverShards(engine, targets);
    if (engine.options.closed.aborted)
      throw new SealedError("The incarnation ended: what it took is left to the next owner");
    for (const shard of won) {
      this.#sealedAt.set(shard, sealedAt);
      engine.owned.add(shard);
      for (const key of this.#record(shard).busy) engine.unwoken.add(key);
    }
    const rebuilt = [...engine.activations.values()].filter(
      (activation) =>
        activation.phase === "loading" && won.includes(activation.shard) && activation.state !== undefined,
    );
    for (const activation of rebuilt) {
      engine.enliven(activation);
      if (activation.uncovered.length > 0) engine.saver.onInput(activation, activation.uncovered.bytes, true);
    }
    await this.#openDoors(won);
    wakeNamed(engine);
    log.info(
      {
        shards: won.length,
        actors: rebuilt.length,
        shadowed: targets.filter(({ shadows }) => shadows !== undefined).length,
        sealed: [...journals],
        ms: Math.round(clock.monotonic() - startedAt),
      },
      "Took over shards",
    );
    this.#o.onShards(won, []);
  }

  /** The shards are ours and live: a door that does not open now must open later, or nothing would ever come through it. */
  async #openDoors(shards: readonly Shard[]): Promise<void> {
    const { clock, engine, log, open } = this.#o;
    for (let pause = RETRY_MIN_MS; !this.#stopped; pause = Math.min(2 * pause, RETRY_MAX_MS)) {
      try {
        await open(shards);
        return;
      } catch (error) {
        if (!(error instanceof TroupeError && error.retryable)) throw error;
        log.warn({ err: error, shards: shards.length }, "Shards cannot be opened yet: trying again");
        await sleep(clock, pause, engine.options.closed).catch(() => undefined); // then it is stopped
      }
    }
  }

  /** Compare-and-set of the record; undefined if another node was first. */
  async #claim(shard: Shard, decided: ShardEntry | undefined): Promise<Shard | undefined> {
    const { table, me, engine } = this.#o;
    if (engine.options.closed.aborted) return undefined;
    const old = decided?.record;
    const mine = engine.options.journal.subject;
    const journals = [...(old?.journals ?? []).filter((journal) => journal !== mine), mine];
    const record: ShardRecord = {
      owner: me,
      epoch: (old?.epoch ?? 0) + 1,
      checkpoint: old?.checkpoint ?? 0,
      journals,
      busy: old?.busy ?? [],
      ...(this.#isPinned(shard, old) && { isPinned: true }),
      versions: newest(old?.versions, versionsOf(engine.options.kinds)),
    };
    try {
      await table.write(shard, record, decided);
      return shard;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      await table.refresh(shard); // conflict or no answer: the record tells who has it
      return table.entries.get(shard)?.record.owner === me ? shard : undefined;
    }
  }

  /** Once a node of the label's value owns a shard, it stays with such nodes. */
  #isPinned(shard: Shard, old: ShardRecord | undefined): boolean {
    if (old?.isPinned === true || typeof shard === "number") return old?.isPinned === true;
    const { kind, value } = partsOfShard(shard);
    const label = this.#o.registry.placementOf(kind)?.label ?? null;
    return label !== null && this.#o.membership.members.get(this.#o.me)?.labels[label] === value;
  }

  #record(shard: Shard): ShardRecord {
    return (this.#o.table.entries.get(shard) as { record: ShardRecord }).record;
  }

  #foreignJournals(shard: Shard): string[] {
    const record = this.#o.table.entries.get(shard)?.record;
    return (record?.journals ?? []).filter((journal) => journal !== this.#o.engine.options.journal.subject);
  }

  /** Ends delivery, commits, stores, and frees the records: the next owner has nothing to replay. */
  async #release(shards: readonly Shard[]): Promise<void> {
    const { engine, log, table, me } = this.#o;
    const isLeaving = ({ shard }: Activation) => shards.includes(shard);
    this.#o.close(shards);
    for (const shard of shards) engine.owned.delete(shard);
    await settleActors(engine, isLeaving);
    await engine.saver.saveAll(isLeaving);
    const checkpoints = engine.saver.checkpoints(() => engine.committer.committedSeq);
    const busy = (shard: Shard) => [
      ...new Set([...(checkpoints.get(shard)?.busy ?? []), ...this.#checkpointer.unwoken(shard)]),
    ];
    const records = shards.map((shard) => ({
      shard,
      old: table.entries.get(shard),
      record: this.#freed(shard, busy(shard)),
    }));
    const stolen = records.find(({ old }) => old?.record.owner !== me);
    if (stolen !== undefined)
      throw new SealedError(
        `Shard ${stolen.shard} was taken by "${String(stolen.old?.record.owner)}": this incarnation is over`,
      );
    if (engine.options.closed.aborted)
      throw new SealedError("The incarnation ended: its shards are left to the next owner");
    // Those in memory are woken if their shard has to be taken back: the record that stands then names those of a checkpoint.
    for (const { record } of records) for (const key of record.busy) engine.unwoken.add(key);
    for (const activation of [...engine.activations.values()].filter(isLeaving)) engine.drop(activation);
    await Promise.all(records.map(({ shard, old, record }) => table.write(shard, record, old)));
    for (const { record } of records) for (const key of record.busy) engine.unwoken.delete(key);
    log.info({ shards: shards.length }, "Released shards");
    this.#o.onShards([], shards);
  }

  #freed(shard: Shard, busy: string[]): ShardRecord {
    const { epoch, checkpoint, isPinned, versions = {} } = this.#record(shard);
    const kept = { owner: null, epoch, busy, versions, ...(isPinned === true && { isPinned }) };
    const covered = Math.max(checkpoint, this.#o.engine.committer.committedSeq, this.#sealedAt.get(shard) ?? 0);
    const parked = this.#checkpointer.parkedAt(shard);
    // What is parked came from older journals; the rest of the shard is stored.
    if (parked <= covered)
      return { ...kept, checkpoint: Math.max(checkpoint, parked - 1), journals: this.#foreignJournals(shard) };
    return { ...kept, checkpoint: covered, journals: [] };
  }
}
