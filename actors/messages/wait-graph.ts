/** What locks tell the wait-for graph. Invariant: a report is the whole present state of one lock, so that the last one counts. */
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
  readonly waiting: readonly Waiting[];
}

/** The one graph of a cluster. */
export const WAIT_GRAPH = { kind: "wait-graph", id: "main" } as const;
