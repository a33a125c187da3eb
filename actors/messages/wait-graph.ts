/**
 * What locks tell the wait-for graph. Invariant: a report says what changed since the one before it, and reports of one lock
 * arrive once and in order, so their sum is the lock's state; a long line costs no more than a short one.
 */
import type { Priority } from "../../runtime/priority.ts";

export interface Waiting {
  readonly holder: string;
  readonly priority: Priority;
  readonly sinceMs: number;
}

/** Sent by a lock whenever its holders or its line change while somebody waits, and once when nobody does any more. */
export interface LockChanged {
  readonly type: "lockChanged";
  readonly resource: string;
  readonly holders: readonly string[];
  readonly joined: readonly Waiting[];
  readonly left: readonly string[];
}

/** The one graph of a cluster. */
export const WAIT_GRAPH = { kind: "wait-graph", id: "main" } as const;
