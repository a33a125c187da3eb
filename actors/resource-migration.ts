/** Brings a lock of version 1 (one holder, no leases) to the present form. Invariant: holder, token, line and history stay. */
import type { PersistedMachine } from "../runtime/machine.ts";
import type { Priority } from "../runtime/priority.ts";
import { type Held, newLock, type ResourceContext } from "./resource-state.ts";

interface FirstVersion {
  readonly resource: string;
  readonly token: number;
  readonly holder: string | null;
  readonly ttlMs: number | null;
  readonly grantedAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly queue: readonly { holder: string; priority: Priority; ttlMs: number; sinceMs: number }[];
  readonly history: readonly Pick<
    ResourceContext["history"][number],
    "token" | "holder" | "grantedAtMs" | "endedAtMs" | "reason"
  >[];
}

export function migrateLock(stored: PersistedMachine): PersistedMachine {
  const { resource, token, holder, ttlMs, grantedAtMs, expiresAtMs, queue, history } = stored.context as FirstVersion;
  const sinceMs = grantedAtMs ?? 0;
  const held: Held = {
    token,
    holder: holder ?? "",
    priority: "normal",
    ttlMs: ttlMs ?? 0,
    permits: 1,
    sinceMs,
    grantedAtMs: sinceMs,
    expiresAtMs: expiresAtMs ?? 0,
    isWarned: true,
    releaseByMs: null,
    asked: null,
  };
  const context: ResourceContext & { leaseSeq: null } = {
    ...newLock(resource),
    token,
    leaseVersion: token,
    holders: holder === null ? [] : [held],
    queue: queue.map((waiter) => ({ ...waiter, permits: 1, bumped: null })),
    history: history.map((grant) => ({ ...grant, waitedMs: 0, confirmed: null, by: null, why: null })),
    leaseSeq: null,
  };
  return { ...stored, context };
}
