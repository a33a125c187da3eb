/**
 * Every error of the runtime: one class per decision that a caller can take. `code` is stable and crosses the wire;
 * `retryable` says whether the same request may succeed later unchanged. `tests/unit/errors.test.ts` keeps this file and
 * the table in ARCHITECTURE.md in step.
 */

export abstract class TroupeError extends Error {
  abstract readonly code: string;
  abstract readonly retryable: boolean;
}

/** No answer from the broker: the outcome of a write is unknown. Look it up, or repeat with the same id. */
export class BrokerUnavailableError extends TroupeError {
  override readonly name = "BrokerUnavailableError";
  readonly code = "BROKER_UNAVAILABLE";
  readonly retryable = true;
}

/** A compare-and-set did not hold. Nothing was stored: read again and decide anew. */
export class RevisionConflictError extends TroupeError {
  override readonly name = "RevisionConflictError";
  readonly code = "REVISION_CONFLICT";
  readonly retryable = false;
  constructor(subject: string, expected: number, options?: ErrorOptions) {
    super(`The last message of "${subject}" is not ${expected}: somebody else wrote; read it again`, options);
  }
}

/** A stream is at its limit and refuses more. Nothing was stored. */
export class StreamFullError extends TroupeError {
  override readonly name = "StreamFullError";
  readonly code = "STREAM_FULL";
  readonly retryable = true;
}

/** Nobody owns the shard just now (fail-over, start): try again until your deadline. */
export class NoResponderError extends TroupeError {
  override readonly name = "NoResponderError";
  readonly code = "NO_RESPONDER";
  readonly retryable = true;
  constructor(subject: string) {
    super(`Nobody listens on "${subject}": start a node, or try again while one takes over`);
  }
}

/** The actor lives with its host, and no node of that host is up. Nothing was taken: a call ends at once, actors' messages wait. */
export class HostOfflineError extends TroupeError {
  override readonly name = "HostOfflineError";
  readonly code = "HOST_OFFLINE";
  readonly retryable = true;
}

/** A queue is at its limit. Nothing was taken: try again with backoff. */
export class BusyError extends TroupeError {
  override readonly name = "BusyError";
  readonly code = "BUSY";
  readonly retryable = true;
}

/** The deadline passed without an answer. The message may still take effect; repeat the same id to learn. */
export class DeadlineError extends TroupeError {
  override readonly name = "DeadlineError";
  readonly code = "DEADLINE";
  readonly retryable = true;
}

/** The caller's AbortSignal fired. */
export class AbortedError extends TroupeError {
  override readonly name = "AbortedError";
  readonly code = "ABORTED";
  readonly retryable = false;
}

/** A kind or id that cannot stand in a subject. */
export class AddressError extends TroupeError {
  override readonly name = "AddressError";
  readonly code = "BAD_ADDRESS";
  readonly retryable = false;
}

/** No node of the cluster defines this kind, or those that do lack others that most share. */
export class UnknownKindError extends TroupeError {
  override readonly name = "UnknownKindError";
  readonly code = "UNKNOWN_KIND";
  readonly retryable = false;
  constructor(kind: string, known: readonly string[]) {
    super(
      `No node that could serve it hosts the kind "${kind}": known there are ${known.length > 0 ? known.join(", ") : "none"}. Nodes define the same kinds, or give theirs a placement`,
    );
  }
}

/** Nothing is known of this actor: no message ever reached it. */
export class ActorNotFoundError extends TroupeError {
  override readonly name = "ActorNotFoundError";
  readonly code = "ACTOR_NOT_FOUND";
  readonly retryable = false;
}

/** The machine has no transition for this event type anywhere. */
export class UnknownEventError extends TroupeError {
  override readonly name = "UnknownEventError";
  readonly code = "UNKNOWN_EVENT";
  readonly retryable = false;
}

/** A payload that cannot be taken: too large, cyclic, malformed, or of a type that does not survive storage. */
export class PayloadError extends TroupeError {
  override readonly name = "PayloadError";
  readonly code = "BAD_PAYLOAD";
  readonly retryable = false;
}

/** The actor reached a final state or was stopped and takes no more messages. */
export class ActorDoneError extends TroupeError {
  override readonly name = "ActorDoneError";
  readonly code = "ACTOR_DONE";
  readonly retryable = false;
}

/** Too many poison messages: the actor takes nothing until an operator lets it go on. The message is the sender's still. */
export class QuarantinedError extends TroupeError {
  override readonly name = "QuarantinedError";
  readonly code = "QUARANTINED";
  readonly retryable = false;
}

/** The actor failed over: its standby does the work. Ask that one; what is told to this one reaches it. */
export class MovedError extends TroupeError {
  override readonly name = "MovedError";
  readonly code = "MOVED";
  readonly retryable = false;
}

/** A dead letter that was seen to already, or that no actor can take again. */
export class DeadLetterError extends TroupeError {
  override readonly name = "DeadLetterError";
  readonly code = "DEAD_LETTER";
  readonly retryable = false;
}

/** There is no dead letter of this number: it was never there, or has timed out. */
export class LetterNotFoundError extends TroupeError {
  override readonly name = "LetterNotFoundError";
  readonly code = "LETTER_NOT_FOUND";
  readonly retryable = false;
}

/** A call came back to an actor that waits for it, and nothing would ever answer; or calls nest without end. */
export class CycleError extends TroupeError {
  override readonly name = "CycleError";
  readonly code = "CYCLE";
  readonly retryable = false;
}

/** The transition threw. The message is in the dead letters with its cause; the state is as before. */
export class PoisonMessageError extends TroupeError {
  override readonly name = "PoisonMessageError";
  readonly code = "POISON_MESSAGE";
  readonly retryable = false;
}

/** The state after this input would be too large, or hold what cannot be stored. It stays as before. */
export class StateError extends TroupeError {
  override readonly name = "StateError";
  readonly code = "BAD_STATE";
  readonly retryable = false;
}

/** A machine that cannot be durable, found when the kind is defined. Names the node's path and the way to write it. */
export class DefinitionError extends TroupeError {
  override readonly name = "DefinitionError";
  readonly code = "BAD_DEFINITION";
  readonly retryable = false;
}

/** The stored state has another version than the code and no migration leads there. */
export class VersionError extends TroupeError {
  override readonly name = "VersionError";
  readonly code = "VERSION_MISMATCH";
  readonly retryable = false;
}

/** The same input gave two results: the machine reads time, chance or the outside. */
export class DeterminismError extends TroupeError {
  override readonly name = "DeterminismError";
  readonly code = "NOT_DETERMINISTIC";
  readonly retryable = false;
}

/** This node was sealed by others: all it had not committed is void. It rejoins as a new incarnation. */
export class SealedError extends TroupeError {
  override readonly name = "SealedError";
  readonly code = "SEALED";
  readonly retryable = true;
}

/** Another process runs under this node's name. A former one that is dead does not count: its name is free at once. */
export class NameTakenError extends TroupeError {
  override readonly name = "NameTakenError";
  readonly code = "NAME_TAKEN";
  readonly retryable = false;
}

/** The history cannot be replayed: it does not reach back to the first input, or a piece is missing. */
export class HistoryGapError extends TroupeError {
  override readonly name = "HistoryGapError";
  readonly code = "HISTORY_GAP";
  readonly retryable = false;
}

/** A stored record is malformed: written by something else, or damaged. */
export class CorruptRecordError extends TroupeError {
  override readonly name = "CorruptRecordError";
  readonly code = "CORRUPT_RECORD";
  readonly retryable = false;
}

/** Rebuilds an error from its wire form, so that a caller catches the same class as on the node. */
export function errorFromWire(code: string, message: string): TroupeError {
  const known = WIRE.get(code);
  return known === undefined ? new RemoteError(code, message) : known(message);
}

/** An error code that this version does not know, from a newer node. */
export class RemoteError extends TroupeError {
  override readonly name = "RemoteError";
  readonly retryable = false;
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const WIRE = new Map<string, (message: string) => TroupeError>(
  [
    BusyError,
    HostOfflineError,
    DeadlineError,
    AddressError,
    ActorNotFoundError,
    UnknownEventError,
    PayloadError,
    ActorDoneError,
    CycleError,
    QuarantinedError,
    MovedError,
    PoisonMessageError,
    StateError,
    VersionError,
    BrokerUnavailableError,
    StreamFullError,
    SealedError,
    AbortedError,
    CorruptRecordError,
    HistoryGapError,
    DefinitionError,
    DeterminismError,
  ].map((Class) => [new Class("").code, (message: string) => new Class(message)] as const),
);
WIRE.set("NO_RESPONDER", (message) => Object.assign(new NoResponderError(""), { message }));
WIRE.set("UNKNOWN_KIND", (message) => Object.assign(new UnknownKindError("", []), { message }));
