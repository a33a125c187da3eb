/**
 * All that is durable of one actor. Invariant: it is a function of the actor's inputs alone, except the outbox, which
 * shrinks as receivers acknowledge; that is why the outbox is encoded apart from the core.
 */
import type { AnyMachineSnapshot } from "xstate";
import type { CallChain } from "./call-chain.ts";
import { decode, encode, sizeOf } from "./codec.ts";
import { CorruptRecordError, VersionError } from "./errors.ts";
import type { EventLike } from "./envelope.ts";
import type { Held } from "./hold.ts";
import type { MachineRunner, PersistedMachine } from "./machine.ts";
import { type SenderRecord, Senders } from "./senders.ts";
import { thrownText } from "./thrown.ts";

export interface Timer {
  /** Revision that set it: a firing with another generation is stale. */
  readonly generation: number;
  readonly dueAtMs: number;
  readonly event: EventLike;
  /** Key of the receiver of a delayed send; null: the actor itself. */
  readonly to: string | null;
}

export interface Invocation {
  /** Revision that started it: a result of another one is stale. */
  readonly startedBy: number;
  readonly src: string;
  readonly input: unknown;
  readonly startedAtMs: number;
  /** The calls that wait for what started it. */
  readonly chain?: CallChain;
}

export interface WantedMessage {
  /** `kind/id`, or `pool:<name>`. */
  readonly to: string;
  readonly lane: number;
  readonly event: EventLike;
  /** Of a message that is passed on: who did so before. */
  readonly chain?: CallChain;
}

export interface Outgoing extends WantedMessage {
  /** The actor's own number of this message: with its key, the stable id. */
  readonly seq: number;
  readonly bytes: number;
  readonly timeMs: number;
}

export interface ActorState {
  /** null until the first input. */
  snapshot: AnyMachineSnapshot | null;
  revision: number;
  timeMs: number;
  readonly timers: Map<string, Timer>;
  readonly invocations: Map<string, Invocation>;
  readonly senders: Senders;
  readonly outbox: Map<number, Outgoing>;
  outSeq: number;
  /** Times of the latest poison messages, ms. */
  failures: number[];
  /** Why supervision ended it. */
  stopped: string | null;
  /** What was under way then; null in states of releases that kept nothing. */
  held: Held | null;
  /** Bytes of timers' and invocations' payloads and of the outbox: part of the state's size. */
  extraBytes: number;
  /** The context last measured, and its size: an unchanged one is not measured again. */
  measuredContext: unknown;
  contextBytes: number;
}

type Core = [
  version: number,
  revision: number,
  timeMs: number,
  machine: PersistedMachine | null,
  timers: [string, Timer][],
  invocations: [string, Invocation][],
  senders: SenderRecord[],
  outSeq: number,
  failures: number[],
  stopped: string | null,
  held?: Held,
];

export function newState(): ActorState {
  return {
    snapshot: null,
    revision: 0,
    timeMs: 0,
    timers: new Map(),
    invocations: new Map(),
    senders: new Senders(),
    outbox: new Map(),
    outSeq: 0,
    failures: [],
    stopped: null,
    held: null,
    extraBytes: 0,
    measuredContext: null,
    contextBytes: 0,
  };
}

/** Gives outgoing messages their numbers. */
export function queueOutgoing(state: ActorState, messages: readonly WantedMessage[], timeMs: number): void {
  for (const wanted of messages) {
    const bytes = sizeOf(wanted.event, "The message");
    const message = { ...wanted, seq: ++state.outSeq, bytes, timeMs };
    state.outbox.set(message.seq, message);
    state.extraBytes += bytes;
  }
}

/** The part that replay of the same inputs gives bit for bit. */
export function encodeCore(state: ActorState, version: number, runner: MachineRunner): Buffer {
  const core: Core = [
    version,
    state.revision,
    state.timeMs,
    state.snapshot === null ? null : runner.persist(state.snapshot),
    Array.from(state.timers),
    Array.from(state.invocations),
    state.senders.toRecord(),
    state.outSeq,
    state.failures,
    state.stopped,
  ];
  if (state.held !== null) core.push(state.held);
  return encode(core);
}

export const encodeOutbox = (state: ActorState): Buffer => encode(Array.from(state.outbox.values()));

export interface StateSource {
  readonly kind: string;
  readonly version: number;
  readonly migrate: ((stored: PersistedMachine, from: number) => PersistedMachine) | undefined;
}

/**
 * @throws {VersionError} Stored by a newer version, or by an older one and no migration is declared.
 * @throws {CorruptRecordError} Not a state.
 */
export function decodeState(
  core: Uint8Array,
  outbox: Uint8Array,
  source: StateSource,
  runner: MachineRunner,
): ActorState {
  const fields = decode(core) as Core;
  if (!Array.isArray(fields) || fields.length < 10 || fields.length > 11)
    throw new CorruptRecordError(`A snapshot of kind "${source.kind}" is damaged`);
  const [version, revision, timeMs, machine, timers, invocations, senders, outSeq, failures, stopped, held = null] =
    fields;
  const state = newState();
  if (machine !== null) state.snapshot = restored(machine, version, source, runner);
  state.revision = revision;
  state.timeMs = timeMs;
  for (const [id, timer] of timers) state.timers.set(id, timer);
  for (const [id, invocation] of invocations) state.invocations.set(id, invocation);
  for (const message of decode(outbox) as Outgoing[]) state.outbox.set(message.seq, message);
  for (const message of state.outbox.values()) state.extraBytes += message.bytes;
  state.outSeq = outSeq;
  state.failures = failures;
  state.stopped = stopped;
  state.held = held;
  return Object.assign(state, { senders: Senders.fromRecord(senders) });
}

function restored(
  machine: PersistedMachine,
  version: number,
  source: StateSource,
  runner: MachineRunner,
): AnyMachineSnapshot {
  try {
    return runner.restore(migrated(machine, version, source));
  } catch (cause) {
    if (cause instanceof VersionError) throw cause;
    throw new VersionError(
      `A stored state of kind "${source.kind}", version ${version}, does not fit the machine (${thrownText(cause)}): raise the version and give defineActor a migrate function`,
      { cause },
    );
  }
}

function migrated(machine: PersistedMachine, version: number, source: StateSource): PersistedMachine {
  if (version === source.version) return machine;
  if (version > source.version) {
    throw new VersionError(
      `An actor of kind "${source.kind}" is stored in version ${version}, newer than the code's ${source.version}: start nodes of the newer code`,
    );
  }
  if (source.migrate === undefined) {
    throw new VersionError(
      `An actor of kind "${source.kind}" is stored in version ${version}, the code has ${source.version}: give defineActor a migrate function, or run the old code`,
    );
  }
  return source.migrate(machine, version);
}
