/**
 * All inputs that a node's actors took since the last append: one journal message, one write, one fence. Invariant: what a
 * round releases leaves only after the round is committed, in the order of its inputs.
 */
import type { Applied } from "./apply.ts";
import type { Activation } from "./activation.ts";
import { decode, encode } from "./codec.ts";
import { CorruptRecordError } from "./errors.ts";
import { ROUND_MAX_BYTES, ROUND_MAX_INPUTS } from "./limits.ts";
import type { Letter } from "./mailbox.ts";
import type { Capture } from "./snapshots.ts";

/** One input as the journal has it: when, to whom, what, and why it was poison. */
export type JournalInput = [timeMs: number, key: string, body: Uint8Array, poison: string | null];

export type JournalRecord =
  | { readonly type: "round"; readonly no: number; readonly inputs: JournalInput[] }
  | { readonly type: "seal"; readonly by: string };

export interface Release {
  readonly activation: Activation;
  readonly applied: Applied;
  readonly letter: Letter;
  readonly poison: string | null;
  /** The actor's revision, and the number of its last outgoing message, as of this input. */
  readonly revision: number;
  readonly outSeq: number;
}

/** Framing of one input in a round, in bytes at most. */
const INPUT_OVERHEAD = 32;

export class Round {
  readonly no: number;
  inputs: JournalInput[] = [];
  releases: Release[] = [];
  /** Snapshots taken as the round closed, written once it is committed. */
  captures: Capture[] = [];
  /** Place in the journal; 0 until committed. */
  seq = 0;
  #bytes = 0;
  #after: (() => void)[] = [];

  constructor(no: number) {
    this.no = no;
  }

  get isEmpty(): boolean {
    return this.inputs.length === 0;
  }

  get isFull(): boolean {
    return this.inputs.length >= ROUND_MAX_INPUTS || this.#bytes >= ROUND_MAX_BYTES;
  }

  /** A largest message still fits when the round is not full: it exceeds {@link ROUND_MAX_BYTES} by one message at most. */
  add(input: JournalInput, release: Release): void {
    this.inputs.push(input);
    this.releases.push(release);
    this.#bytes += input[1].length + input[2].length + causeBytes(input[3]) + INPUT_OVERHEAD;
  }

  /** Runs `fn` once the round is committed; at once if it is. Never, if the node is sealed first. */
  whenCommitted(fn: () => void): void {
    if (this.seq > 0) fn();
    else this.#after.push(fn);
  }

  commit(seq: number): void {
    this.seq = seq;
  }

  /** Hands out what waits, and lets go of all it held: inputs that no snapshot covers still refer to the round's place. */
  finish(): (() => void)[] {
    const waiting = this.#after;
    this.#after = [];
    this.inputs = [];
    this.releases = [];
    return waiting;
  }

  encode(): Buffer {
    return encode([1, this.no, this.inputs]);
  }
}

const causeBytes = (cause: string | null): number => (cause === null ? 0 : Buffer.byteLength(cause));

export const encodeSeal = (by: string): Buffer => encode([2, by]);

/** @throws {CorruptRecordError} Not a journal record. */
export function decodeRecord(bytes: Uint8Array): JournalRecord {
  const fields = decode(bytes);
  if (Array.isArray(fields) && fields[0] === 1 && Array.isArray(fields[2])) {
    return { type: "round", no: fields[1] as number, inputs: fields[2] as JournalInput[] };
  }
  if (Array.isArray(fields) && fields[0] === 2) return { type: "seal", by: String(fields[1]) };
  throw new CorruptRecordError(
    "A journal message is neither a round nor a seal: did something else write to the journal?",
  );
}
