/**
 * Dead letters of what came in from outside. Invariant: each names where the message stood and how it begins, and one that is
 * handed in twice is stored once.
 */
import { encode } from "../runtime/codec.ts";
import type { PumpDeps } from "./pump.ts";

/** Of a body that cannot be handled this much goes into its dead letter, in bytes. */
const DEAD_BODY_BYTES = 64 * 1_024;

export interface DeadEvent {
  /** One subject token. */
  readonly reason: "malformed" | "refused" | "misaddressed";
  /** Who could not handle it, and which of its messages it was: one subject token each. */
  readonly kind: string;
  readonly id: string;
  readonly cause: string;
  readonly timeMs: number;
  readonly subject: string;
  readonly data: Uint8Array;
  /** The same for the same message. */
  readonly messageId: string;
}

/** @throws {TroupeError} It is not stored, or whether it is is not known. */
export async function storeDead({ broker, names }: PumpDeps, dead: DeadEvent): Promise<void> {
  const { reason, kind, id, cause, timeMs, subject, data, messageId } = dead;
  const event = Buffer.from(data.subarray(0, DEAD_BODY_BYTES)).toString("utf8");
  const letter = { reason, kind, id, cause, timeMs: Math.floor(timeMs), sender: subject, event };
  await broker.append(names.dead(reason, kind, id), encode(letter), { messageId });
}
