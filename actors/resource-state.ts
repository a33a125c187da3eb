/** What a lock knows. Invariant: plain data; the permits of those who hold never exceed the capacity, and tokens only grow. */
import type { Priority } from "../runtime/priority.ts";
import type { EndReason, PreemptionPolicy, Ticket, WaitReason } from "./messages/resource.ts";
import { positionOf, type Queue, type Waiter } from "./resource-queue.ts";

/** Grants kept for a reader, latest last. All of them are in the pool of resources. */
export const GRANT_HISTORY = 50;
/** How long a holder may go on to its next safe point before the policy decides, unless configured, in ms. */
export const GRACE_MS = 30_000;

/** A grant that lasts. */
export interface Held {
  readonly token: number;
  readonly holder: string;
  readonly priority: Priority;
  readonly ttlMs: number;
  readonly permits: number;
  /** When the holder first asked. */
  readonly sinceMs: number;
  readonly grantedAtMs: number;
  readonly expiresAtMs: number;
  /** The holder was asked whether it still needs it, once for each expiry. */
  readonly isWarned: boolean;
  /** Renewals do not pass this: it agreed to let go by then. */
  readonly releaseByMs: number | null;
  /** Who asked it to let go, and by when; null once answered. */
  readonly asked: { readonly by: string; readonly byMs: number } | null;
}

/** A grant as the history keeps it. */
export interface Grant {
  readonly token: number;
  readonly holder: string;
  /** From the first request to the grant. */
  readonly waitedMs: number;
  readonly grantedAtMs: number;
  readonly endedAtMs: number | null;
  readonly reason: EndReason | null;
  /** Of a grant after a forced takeover: whether the former holder confirmed that it had stopped. */
  readonly confirmed: boolean | null;
  /** Who ended it and why, if somebody did. */
  readonly by: string | null;
  readonly why: string | null;
}

/** A critical waiter for whom a holder is to pause. */
export interface Claim {
  readonly for: string;
  readonly token: number;
  /** When the policy decides; null: it has. */
  readonly untilMs: number | null;
}

/** Why a grant ends. */
export interface End {
  readonly reason: EndReason;
  readonly by?: string;
  readonly why?: string;
  /** The holder let go itself. */
  readonly isOwn?: boolean;
}

/** A grant that was revoked by force; its holder may still be stopping. */
export interface Stopping {
  readonly token: number;
  readonly holder: string;
  readonly to: Waiter;
  readonly untilMs: number;
  /** How it ended, and whether all that were taken before it for the same one confirmed. An earlier state of this code kept neither. */
  readonly how?: End;
  readonly isConfirmed?: boolean;
}

export interface Closed {
  readonly reason: "maintenance" | "host lost";
  readonly by: string;
  readonly why: string;
  readonly sinceMs: number;
}

/** Clients whose refusal is kept for their next question at most: the oldest is forgotten. */
export const REFUSALS_LIMIT = 100;
/** A refusal that is older tells nothing of a new request, in ms: whoever polls has asked by then. */
export const REFUSAL_KEPT_MS = 600_000;

/** Of a client's wait, which has no address to be told at. */
export interface Refusal {
  readonly holder: string;
  readonly reason: string;
  readonly atMs: number;
}

export interface ResourceContext {
  readonly resource: string;
  readonly capacity: number;
  readonly policy: PreemptionPolicy;
  readonly graceMs: number;
  /** The last one issued; 0 before the first grant. */
  readonly token: number;
  /** Grows with each change of the lease that hosts read. */
  readonly leaseVersion: number;
  readonly holders: readonly Held[];
  readonly queue: Queue;
  readonly claim: Claim | null;
  readonly stopping: Stopping | null;
  /** Why nobody is granted. */
  readonly closed: readonly Closed[];
  /** What clients are told when they ask again, latest last. Locks stored by an earlier state of this code have none. */
  readonly refusals?: readonly Refusal[];
  /** Latest grants, latest last, the present ones included. */
  readonly history: readonly Grant[];
}

export const newLock = (resource: string): ResourceContext => ({
  resource,
  capacity: 1,
  policy: "wait",
  graceMs: GRACE_MS,
  token: 0,
  leaseVersion: 0,
  holders: [],
  queue: [],
  claim: null,
  stopping: null,
  closed: [],
  history: [],
});

export const heldBy = ({ holders }: ResourceContext, holder: string | null): Held | undefined =>
  holders.find((held) => held.holder === holder);
export const heldUnder = ({ holders }: ResourceContext, token: unknown): Held | undefined =>
  holders.find((held) => held.token === token);

export type LockState = "free" | "held" | "stopping" | "closed";

export function stateOf({ stopping, holders, closed }: ResourceContext): LockState {
  if (stopping !== null) return "stopping";
  if (holders.length > 0) return "held";
  return closed.length > 0 ? "closed" : "free";
}

/** Whether so many places are left. */
export const fits = ({ capacity, holders }: ResourceContext, permits: number): boolean =>
  holders.reduce((sum, held) => sum + held.permits, permits) <= capacity;

export function ticketOf(lock: ResourceContext, holder: string, nowMs: number): Ticket {
  const position = positionOf(lock.queue, holder);
  return {
    position,
    holder: lock.holders[0]?.holder ?? "",
    why: whyOf(lock),
    estimateMs: estimate(lock, position, nowMs),
  };
}

function whyOf({ closed, stopping, claim, holders }: ResourceContext): WaitReason {
  const [first] = closed;
  if (first !== undefined) return first.reason;
  if (stopping !== null) return "taking over";
  return holders.length === 0 || claim !== null ? "kept" : "held";
}

/** Mean duration of the grants that ended, for each of those before, less what the present ones have used of it. */
function estimate(
  { history, holders, capacity, closed }: ResourceContext,
  position: number,
  nowMs: number,
): number | null {
  if (closed.length > 0) return null; // past grants do not tell when an operator or a host comes back
  const spans = history.flatMap(({ grantedAtMs, endedAtMs }) => (endedAtMs === null ? [] : [endedAtMs - grantedAtMs]));
  if (spans.length === 0) return null;
  const mean = spans.reduce((sum, span) => sum + span, 0) / spans.length;
  const used = Math.min(mean, Math.max(0, ...holders.map(({ grantedAtMs }) => nowMs - grantedAtMs)));
  return Math.round((mean * position) / capacity - used / capacity);
}

/** When the lock has something to do by itself, in ms since 1970; null: nothing. */
export function dueAtMs({ holders, claim, stopping }: ResourceContext): number | null {
  const times = holders.map((held) => (held.isWarned ? held.expiresAtMs : warnAtMs(held)));
  if (claim !== null && claim.untilMs !== null) times.push(claim.untilMs);
  if (stopping !== null) times.push(stopping.untilMs);
  return times.length === 0 ? null : Math.min(...times);
}

/** A holder is asked when this part of its lease is left. A task renews at two thirds and is not asked. */
const WARN_PART = 4;
export const warnAtMs = ({ expiresAtMs, ttlMs }: Held): number => expiresAtMs - Math.floor(ttlMs / WARN_PART);
