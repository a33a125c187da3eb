/**
 * Persisted states. Invariant: the inputs that a snapshot covers are in the history before it is stored, and it is stored
 * before a checkpoint passes them; it holds committed state only and replaces its predecessor by compare-and-set.
 */
import type { Names } from "../nats-config/subjects.ts";
import { type ActorState, decodeState, encodeCore, encodeOutbox } from "./actor-state.ts";
import type { Activation } from "./activation.ts";
import { decode, encode } from "./codec.ts";
import { CorruptRecordError, RevisionConflictError, SealedError, TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { HISTORY_CHUNK_BYTES } from "./limits.ts";
import type { Broker } from "./port.ts";
import type { RunnableKind } from "./runnable.ts";
import { thrownText } from "./thrown.ts";
import type { UncoveredRow } from "./uncovered.ts";

export interface StoredState {
  readonly state: ActorState;
  /** Journal sequence that it covers. */
  readonly covers: number;
  /** Its own sequence in the snapshot stream, for compare-and-set. */
  readonly seq: number;
}

/** A state frozen as bytes at the close of a round. */
export interface Capture {
  readonly activation: Activation;
  readonly core: Uint8Array;
  readonly outbox: Uint8Array;
  readonly outboxSize: number;
  /** Uncovered inputs that it covers. */
  readonly inputs: number;
  /** Revision after the last of them. */
  readonly revision: number;
}

const FORMAT = 1;

export function capture(activation: Activation): Capture {
  const { state, kind } = activation;
  activation.saving = true;
  activation.snapshotDue = false;
  return {
    activation,
    core: encodeCore(state, kind.version, kind.runner),
    outbox: encodeOutbox(state),
    outboxSize: state.outbox.size,
    inputs: activation.uncovered.length,
    revision: state.revision,
  };
}

export interface SnapshotStore {
  readonly broker: Broker;
  readonly names: Names;
}

/**
 * Loads what is stored of an actor; null: nothing.
 * @throws {VersionError} @throws {CorruptRecordError} @throws {BrokerUnavailableError}
 */
export async function loadState(
  { broker, names }: SnapshotStore,
  kind: RunnableKind,
  shard: Shard,
  id: string,
): Promise<StoredState | null> {
  const message = await broker.getLast(names.stream.snapshot, names.snapshot(shard, kind.kind, id));
  if (message === null || message.data.length === 0) return null; // nothing, or the marker of one that timed out
  const { covers, core, outbox } = decodeSnapshot(message.data);
  try {
    return { state: decodeState(core, outbox, kind, kind.runner), covers, seq: message.seq };
  } catch (cause) {
    if (cause instanceof TroupeError) throw cause;
    throw new CorruptRecordError(`The snapshot "${message.subject}" is damaged (${thrownText(cause)}): restore it`, {
      cause,
    });
  }
}

/** @throws {CorruptRecordError} Not a snapshot of this format. */
export function decodeSnapshot(bytes: Uint8Array): { covers: number; core: Uint8Array; outbox: Uint8Array } {
  const fields = decode(bytes);
  if (!Array.isArray(fields) || fields[0] !== FORMAT)
    throw new CorruptRecordError("A snapshot is of another format: was it written by a newer release?");
  const [, covers, core, outbox] = fields as unknown[];
  if (!Number.isSafeInteger(covers) || !(core instanceof Uint8Array) || !(outbox instanceof Uint8Array))
    throw new CorruptRecordError("A snapshot is damaged: restore it");
  return { covers: covers as number, core, outbox };
}

/**
 * Stores a capture whose inputs are all committed: first the inputs as history, then the state. Resolves with the bytes of
 * inputs that need not be kept any more.
 * @throws {SealedError} Another owner has stored a later state.
 * @throws {BrokerUnavailableError} Try again with a new capture; nothing is forgotten.
 */
export async function storeCapture(store: SnapshotStore, taken: Capture): Promise<number> {
  const { activation, inputs } = taken;
  const { kind, address, shard, uncovered } = activation;
  const covers = inputs > 0 ? (uncovered.seqAt(inputs - 1) as number) : activation.coveredSeq;
  if (kind.historyDays > 0) await storeHistory(store, taken);
  const subject = store.names.snapshot(shard, address.kind, address.id);
  const bytes = encode([FORMAT, covers, taken.core, taken.outbox]);
  activation.snapshotSeq = await replace(store, subject, bytes, activation.snapshotSeq, covers);
  activation.coveredSeq = covers;
  activation.savedOutbox = taken.outboxSize;
  return uncovered.drop(inputs);
}

/** Several messages when the inputs would not fit one. */
async function storeHistory(store: SnapshotStore, { activation, inputs, revision }: Capture): Promise<void> {
  const { kind, address, uncovered } = activation;
  const subject = store.names.history(address.kind, address.id);
  const chunks: UncoveredRow[][] = [];
  let room = 0;
  for (const row of uncovered.rows(inputs)) {
    if (room <= 0) {
      chunks.push([]);
      room = HISTORY_CHUNK_BYTES;
    }
    chunks.at(-1)?.push(row);
    room -= row[2].length;
  }
  let next = revision - inputs + 1;
  for (const rows of chunks) {
    await store.broker.append(subject, encode([FORMAT, kind.version, next, rows]), { ttlS: kind.historyDays * 86_400 });
    next += rows.length;
  }
}

async function replace(
  store: SnapshotStore,
  subject: string,
  bytes: Uint8Array,
  expected: number,
  covers: number,
): Promise<number> {
  for (let last = expected; ; ) {
    try {
      return await store.broker.append(subject, bytes, { expectedLastSubjectSeq: last });
    } catch (error) {
      if (!(error instanceof RevisionConflictError)) throw error;
      // A lost acknowledgement of our own write, or a former owner that stored a state no later than the seal.
      const stored = await store.broker.getLast(store.names.stream.snapshot, subject);
      if (stored !== null && stored.data.length > 0 && decodeSnapshot(stored.data).covers > covers) {
        throw new SealedError(`The snapshot "${subject}" is newer than this node's state: another owner is active`, {
          cause: error,
        });
      }
      last = stored?.seq ?? 0;
    }
  }
}
