/**
 * The one encoding of an input: as it crosses the wire, stands in the journal and in the history. Invariant: the bytes
 * that a node journals are the bytes that it received; only the time is added beside them.
 */
import { type CallChain, isChain } from "./call-chain.ts";
import { decode, encode, sizeOf } from "./codec.ts";
import { CorruptRecordError, errorFromWire, PayloadError, type TroupeError } from "./errors.ts";
import { MAX_ENVELOPE_BYTES, MAX_MESSAGE_BYTES, MAX_SENDER_LENGTH } from "./limits.ts";

const WIRE_VERSION = 1;

/** What an input is. {@link Tag.TimerFired} and {@link Tag.InvocationSettled} are the actor's own, {@link Tag.Control} its keepers'. */
export const Tag = { Tell: 0, Ask: 1, TimerFired: 2, InvocationSettled: 3, Control: 4 } as const;
export type Tag = (typeof Tag)[keyof typeof Tag];

/** Numbered by its sender, taken once, answered. */
export const isMessage = (tag: Tag): boolean => tag <= Tag.Ask || tag === Tag.Control;

export interface EventLike {
  readonly type: string;
  readonly [key: string]: unknown;
}

export interface Input {
  readonly tag: Tag;
  /** `kind/id` of an actor, a client's session, a timer's id or a child's id. */
  readonly sender: string;
  /** The sender's number of this message; a timer's generation; the revision that started an invocation. */
  readonly seq: number;
  /** The sender has settled all its numbers below this one. */
  readonly low: number;
  /** How long the message may wait to be started, in ms from its arrival; 0: for ever. */
  readonly ttlMs: number;
  /** Lane, 0 critical to 3 low. */
  readonly lane: number;
  readonly event: EventLike;
  /** The invocations that wait for this call; none of a message that no invocation sent. */
  readonly chain?: CallChain;
}

/**
 * Size of an event that can travel, in bytes.
 * @throws {PayloadError} The event is not plain data with a `type`, or too large.
 */
export function measureEvent(event: EventLike, what = "The event"): number {
  const size = sizeOf(event, what);
  if (typeof event?.type !== "string" || event.type === "") {
    throw new PayloadError(`${what} has no "type": send an object such as { type: "start" }`);
  }
  if (size > MAX_MESSAGE_BYTES) {
    throw new PayloadError(
      `${what} "${event.type.slice(0, 80)}" takes about ${size} bytes, more than ${MAX_MESSAGE_BYTES}: store the data elsewhere and send its name`,
    );
  }
  return size;
}

/**
 * @throws {PayloadError} The event is not plain data with a `type`, or too large.
 */
export function encodeInput(input: Input): Buffer {
  measureEvent(input.event);
  const { tag, sender, seq, low, ttlMs, lane, event, chain = [] } = input;
  const fields = [WIRE_VERSION, tag, sender, seq, low, ttlMs, lane, event];
  return encode(chain.length === 0 ? fields : [...fields, chain]);
}

let lastSender = "";

/**
 * @throws {CorruptRecordError} Not an input of this version. @throws {PayloadError} Too large.
 */
export function decodeInput(bytes: Uint8Array): Input {
  if (bytes.length > MAX_MESSAGE_BYTES + MAX_ENVELOPE_BYTES) {
    throw new PayloadError(
      `The message takes ${bytes.length} bytes, more than ${MAX_MESSAGE_BYTES}: store the data elsewhere and send its name`,
    );
  }
  const fields = decode(bytes);
  if (!Array.isArray(fields) || fields[0] !== WIRE_VERSION || fields.length < 8 || fields.length > 9) {
    throw new CorruptRecordError("The message is not an input of this version: use this package's client");
  }
  const [, tag, sender, seq, low, ttlMs, lane, event, chain] = fields as [
    number,
    Tag,
    string,
    number,
    number,
    number,
    number,
    EventLike,
    unknown?,
  ];
  const numbers =
    isCount(seq) && isCount(low) && isCount(ttlMs) && isCount(lane) && lane <= 3 && isCount(tag) && tag <= Tag.Control;
  if (
    !numbers ||
    typeof sender !== "string" ||
    typeof event !== "object" ||
    event === null ||
    typeof event.type !== "string" ||
    event.type === "" ||
    !(chain === undefined || isChain(chain))
  ) {
    throw new CorruptRecordError("The message's fields have the wrong types: use this package's client");
  }
  if (isMessage(tag) && (sender === "" || sender.length > MAX_SENDER_LENGTH)) {
    throw new CorruptRecordError(`The sender has ${sender.length} characters: use 1 to ${MAX_SENDER_LENGTH}`);
  }
  // Messages come in runs from one sender, and receivers keep its name: one text for all of them is compared by its address.
  if (sender !== lastSender) lastSender = sender;
  const input = { tag, sender: lastSender, seq, low, ttlMs, lane, event };
  return chain === undefined || chain.length === 0 ? input : { ...input, chain };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** An answer: a value, or an error that the caller rethrows as its class. */
export const encodeValue = (value: unknown): Buffer => encode([0, value]);
export const encodeError = (error: TroupeError): Buffer => encode([1, error.code, error.message]);

/** The answer to a message that needs none but its commit. */
export const ACCEPTED = encode([0, null]);

/**
 * @throws The error that the answer carries, or {@link CorruptRecordError}.
 */
export function decodeAnswer(bytes: Uint8Array): unknown {
  const fields = decode(bytes);
  if (Array.isArray(fields) && fields[0] === 0) return fields[1];
  if (Array.isArray(fields) && fields[0] === 1) throw errorFromWire(String(fields[1]), String(fields[2]));
  throw new CorruptRecordError("The answer is not one of this version: are nodes and clients of the same release?");
}
