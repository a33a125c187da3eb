/**
 * Rebuilding the actors of shards from snapshots and sealed journals, or from a standby's shadows and the journal's rest. Invariant:
 * every journal is read to its seal, so no committed input is missed; inputs are applied in journal order, and only those that
 * the snapshot does not cover.
 */
import { Activation } from "./activation.ts";
import { newState } from "./actor-state.ts";
import { addressOf } from "./address.ts";
import { applyPoison, causeOf, replayInput } from "./apply.ts";
import type { Clock } from "./clock.ts";
import { decodeInput } from "./envelope.ts";
import type { Engine } from "./engine.ts";
import { CorruptRecordError, type TroupeError, UnknownKindError, VersionError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { RECOVERY_PAGE } from "./limits.ts";
import { decodeRecord, type JournalInput } from "./round.ts";
import { filings } from "./performer.ts";
import type { PlacedInput, Shadow } from "./shadow.ts";
import type { ShardShadows } from "./shadow-journal.ts";
import { loadState, type StoredState } from "./snapshots.ts";
import type { KindVersions } from "./versions.ts";

export interface ShardToRecover {
  readonly shard: Shard;
  readonly checkpoint: number;
  readonly journals: readonly string[];
  /** Of the kinds, as the former owners ran them. */
  readonly versions: KindVersions;
  /** What a standby gathered: then only what came after is read. */
  readonly shadows: ShardShadows | undefined;
}

/** Snapshots loaded at once during a recovery: hides their latency without flooding the server. */
const LOADS_AT_ONCE = 64;

/**
 * Rebuilds every actor with inputs after the checkpoints and adopts it into the engine, not yet live.
 * Resolves with the highest sealed sequence that was read, 0 if there was none.
 */
export async function recoverShards(engine: Engine, shards: readonly ShardToRecover[]): Promise<number> {
  const wanted = new Map(shards.map((shard) => [shard.shard, shard]));
  const inputs = new Map<string, PlacedInput[]>();
  let sealedAt = 0;
  for (const journal of orderedJournals(shards)) {
    const from = Math.min(...shards.filter((shard) => shard.journals.includes(journal)).map(readUpTo)) + 1;
    sealedAt = Math.max(sealedAt, await readJournal(engine, journal, from, wanted, inputs));
  }
  warnOfVersions(engine, wanted, [...inputs.keys()]);
  for (const { shadows } of shards)
    for (const [key, shadow] of shadows?.actors ?? []) {
      const rest = inputs.get(key) ?? [];
      if (adopt(engine, shadow, rest)) inputs.delete(key);
      else inputs.set(key, [...shadow.inputs(), ...rest]);
    }
  const keys = [...inputs.keys()];
  for (let i = 0; i < keys.length; i += LOADS_AT_ONCE) {
    await Promise.all(
      keys.slice(i, i + LOADS_AT_ONCE).map((key) => rebuild(engine, key, inputs.get(key) as PlacedInput[])),
    );
  }
  return sealedAt;
}

/** Every input up to here is covered by a snapshot or in a shadow. */
const readUpTo = ({ shadows, checkpoint }: ShardToRecover): number => shadows?.position ?? checkpoint;

/** Journals hold inputs, not states: what another version took is applied by this one. A release in good order leaves none. */
function warnOfVersions(engine: Engine, wanted: ReadonlyMap<Shard, ShardToRecover>, keys: readonly string[]): void {
  const { kinds, log, shardOf } = engine.options;
  const found = new Map<string, { actors: number; readonly written: number; readonly code: number }>();
  for (const key of keys) {
    const { kind, id } = addressOf(key);
    const written = wanted.get(shardOf(kind, id))?.versions[kind] ?? 1;
    const code = kinds.get(kind)?.version ?? written;
    if (written === code) continue;
    const entry = found.get(`${kind} ${written}`) ?? { actors: 0, written, code };
    entry.actors++;
    found.set(`${kind} ${written}`, entry);
  }
  for (const [kind, entry] of found)
    log.warn(
      { kind, ...entry },
      "Inputs that another version of the kind took are replayed: compare what they lead to",
    );
}

/** A shard's older journals come first; each ends before the next begins. */
function orderedJournals(shards: readonly ShardToRecover[]): string[] {
  return [...new Set(shards.flatMap((shard) => shard.journals))];
}

async function readJournal(
  engine: Engine,
  subject: string,
  from: number,
  wanted: ReadonlyMap<Shard, ShardToRecover>,
  inputs: Map<string, PlacedInput[]>,
): Promise<number> {
  const { broker, names, clock, shardOf } = engine.options;
  for (let next = from; ; ) {
    const page = await broker.read(names.stream.journal, { subject, fromSeq: next, limit: RECOVERY_PAGE });
    for (const message of page) {
      const record = decodeRecord(message.data);
      if (record.type === "seal") return message.seq;
      for (const input of record.inputs) {
        const { kind, id } = addressOf(input[1]);
        const target = wanted.get(shardOf(kind, id));
        if (target === undefined || message.seq <= readUpTo(target) || !target.journals.includes(subject)) continue;
        const list = inputs.get(input[1]);
        if (list === undefined) inputs.set(input[1], [{ seq: message.seq, input }]);
        else list.push({ seq: message.seq, input });
      }
      next = message.seq + 1;
    }
    // The seal is there, but a lagging replica may not show it yet: an end without a seal is not the end.
    if (page.length < RECOVERY_PAGE) {
      const last = await broker.getLast(names.stream.journal, subject);
      if (last !== null && last.seq < from && decodeRecord(last.data).type === "seal") return last.seq;
      await pause(clock);
    }
  }
}

/** False: it is not fit, and the actor must be rebuilt. */
function adopt(engine: Engine, shadow: Shadow, rest: readonly PlacedInput[]): boolean {
  if (!shadow.isFit(engine.options.clock.monotonic())) return false;
  const { activation } = shadow;
  for (const { seq, input } of rest) if (seq > activation.coveredSeq) replay(engine, activation, seq, input);
  engine.adopt(activation);
  return true;
}

const pause = (clock: Clock): Promise<void> => new Promise((resolve) => clock.setTimeout(resolve, 5));

async function rebuild(engine: Engine, key: string, placed: readonly PlacedInput[]): Promise<void> {
  const { kinds, log, shardOf } = engine.options;
  const address = addressOf(key);
  const shard = shardOf(address.kind, address.id);
  // One actor must not keep the others down: it is refused until a node can read its state, and loses nothing.
  const park = (error: TroupeError) => {
    engine.parked.set(key, { shard, seq: Math.min(...placed.map(({ seq }) => seq)) });
    log.error(
      { err: error, actor: key, inputs: placed.length },
      "Actor cannot be rebuilt: its inputs stay in the journal",
    );
  };
  const kind = kinds.get(address.kind);
  if (kind === undefined) {
    park(new UnknownKindError(address.kind, [...kinds.keys()]));
    return;
  }
  const activation = new Activation(address, shard, kind);
  let stored: StoredState | null;
  try {
    stored = await loadState(engine.options, kind, shard, address.id);
  } catch (error) {
    if (!(error instanceof VersionError || error instanceof CorruptRecordError)) throw error;
    park(error);
    return;
  }
  activation.begin(stored?.state ?? newState(), stored);
  // One stream holds all journals: its sequence is the order in which the owners, one after the other, took the inputs.
  for (const { seq, input } of placed.toSorted((a, b) => a.seq - b.seq)) {
    if (seq > activation.coveredSeq) replay(engine, activation, seq, input);
  }
  log.debug({ actor: key, inputs: activation.uncovered.length }, "Actor rebuilt");
  engine.adopt(activation);
}

function replay(engine: Engine, activation: Activation, seq: number, [timeMs, , body, recorded]: JournalInput): void {
  const { kind, address, state } = activation;
  const input = decodeInput(body);
  let poison = recorded;
  if (poison === null) {
    try {
      replayInput(kind, address, state, input, timeMs);
    } catch (error) {
      // It was committed and answered as good: only a changed machine can refuse it now. Loud, and kept for a person.
      poison = `diverged on replay: ${causeOf(error)}`;
      engine.options.log.error({ err: error, actor: activation.key, seq }, "Replay differs from what was committed");
    }
  }
  const retired =
    poison === null ? undefined : applyPoison(kind, address, state, input, timeMs, poison).effects.retired;
  activation.unfiled += filings(input, poison);
  engine.performer.file({ activation, input, poison, seq, revision: state.revision, retired });
  activation.uncovered.push({ seq }, timeMs, body, poison);
}
