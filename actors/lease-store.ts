/** Writes and reads leases in KV. Invariant: the entry of a resource only moves to newer versions, whoever writes when. */
import type { Names } from "../nats-config/subjects.ts";
import { RevisionConflictError } from "../runtime/errors.ts";
import type { Broker } from "../runtime/port.ts";
import { type Clock, sleep, systemClock } from "../runtime/clock.ts";
import { decodeLease, encodeLease, type Lease, leaseKey } from "./lease.ts";

/** Pause before a write without an answer is tried again, in ms. A lease that cannot be written lets nobody new act. */
const RETRY_MS = 200;

export interface LeaseDeps {
  readonly broker: Broker;
  readonly names: Names;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** What the resource kind needs of it. */
export type WriteLease = (input: LeaseWrite, signal: AbortSignal) => Promise<number | null>;

export interface LeaseWrite {
  readonly lease: Lease;
  /** Sequence of the entry as last known here; null: unknown. */
  readonly seq: number | null;
}

/** Resolves with the sequence of the entry, once it is this lease's or a newer one's. */
export const leaseWriter =
  ({ broker, names, clock = systemClock }: LeaseDeps): WriteLease =>
  async ({ lease, seq }, signal) => {
    if (lease.version === 0) return seq; // nothing was ever granted
    const subject = names.kv.leases.key(leaseKey(lease.resource));
    const data = encodeLease(lease);
    let expected = seq;
    for (;;) {
      signal.throwIfAborted();
      try {
        if (expected === null) {
          const last = await broker.getLast(names.kv.leases.stream, subject);
          if (last !== null && (decodeLease(last.data)?.version ?? -1) >= lease.version) return last.seq;
          expected = last?.seq ?? 0;
        }
        return await broker.append(subject, data, { expectedLastSubjectSeq: expected });
      } catch (error) {
        expected = null; // somebody else wrote, or perhaps we did: look
        if (!(error instanceof RevisionConflictError)) await sleep(clock, RETRY_MS, signal);
      }
    }
  };

/** One read. @throws {BrokerUnavailableError} Nobody knows: refuse. */
export async function readLease({ broker, names }: Omit<LeaseDeps, "clock">, resource: string): Promise<Lease | null> {
  const last = await broker.getLast(names.kv.leases.stream, names.kv.leases.key(leaseKey(resource)));
  return last === null ? null : decodeLease(last.data);
}
