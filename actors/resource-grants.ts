/**
 * The moves of a lock: grant, end, preempt, pass on. Invariant: a grant begins only when its places are free and no forced
 * takeover is under way, ends with one reason, and each move leaves one fact of it.
 */
import type { Priority } from "../runtime/priority.ts";
import { priorityRank } from "../runtime/priority.ts";
import type { EndReason, ResourceFact } from "./messages/resource.ts";
import { isActor } from "./resource-claim.ts";
import { enqueue, leave, type Waiter } from "./resource-queue.ts";
import {
  type End,
  fits,
  type Grant,
  GRANT_HISTORY,
  type Held,
  heldUnder,
  type Refusal,
  REFUSAL_KEPT_MS,
  REFUSALS_LIMIT,
  type ResourceContext,
  ticketOf,
  warnAtMs,
} from "./resource-state.ts";

/** How long a holder that was taken over may take to confirm that it stopped, in ms: an abort reaches it within one. */
export const CONFIRM_MS = 5_000;

/** Something that happened to a lock: told to one, announced to all. */
export interface LockFact {
  /** Type of the event in the pool; null: only the one concerned is told. */
  readonly type: string | null;
  readonly priority: Priority;
  readonly about: { readonly holder: string | null; readonly token: number; readonly [field: string]: unknown };
  readonly tell: { readonly to: string; readonly fact: ResourceFact } | null;
}

/** A decision in the making; only the function that made it writes to it. */
export interface Draft {
  lock: ResourceContext;
  readonly facts: LockFact[];
  readonly nowMs: number;
}

export function change(draft: Draft, patch: Partial<ResourceContext>): void {
  draft.lock = { ...draft.lock, ...patch };
}

export function note(
  draft: Draft,
  type: string,
  about: LockFact["about"],
  {
    to,
    fact,
    priority = "low",
  }: { readonly to?: string; readonly fact?: ResourceFact; readonly priority?: Priority } = {},
): void {
  draft.facts.push({ type, priority, about, tell: to === undefined || fact === undefined ? null : { to, fact } });
}

export function tell(draft: Draft, to: string, token: number, fact: ResourceFact): void {
  draft.facts.push({ type: null, priority: "low", about: { holder: to, token }, tell: { to, fact } });
}

/** Gives the lock to one who waited or asks; whoever calls has made sure that there is room. */
export function grant(draft: Draft, to: Waiter, confirmed: boolean | null = null): void {
  const { lock, nowMs } = draft;
  const { holder, priority, ttlMs, permits, sinceMs } = to;
  const token = lock.token + 1;
  const expiresAtMs = nowMs + ttlMs;
  const held: Held = {
    ...{ token, holder, priority, ttlMs, permits, sinceMs, grantedAtMs: nowMs, expiresAtMs },
    ...{ isWarned: false, releaseByMs: null, asked: null },
  };
  const record: Grant = {
    ...{ token, holder, waitedMs: nowMs - sinceMs, grantedAtMs: nowMs, endedAtMs: null, reason: null },
    ...{ confirmed, by: null, why: null },
  };
  change(draft, {
    token,
    leaseVersion: lock.leaseVersion + 1,
    holders: [...lock.holders, held],
    queue: leave(lock.queue, holder),
    claim: lock.claim?.for === holder ? null : lock.claim,
    history: trimmed([...lock.history, record], lock.holders),
  });
  const fact = { type: "resource.granted", resource: lock.resource, token, expiresAtMs } as const;
  const about = { holder, token, expires_at_ms: expiresAtMs, waited_ms: nowMs - sinceMs, permits };
  note(draft, "resource.granted", confirmed === null ? about : { ...about, confirmed }, { to: holder, fact });
}

/** The latest grants; one that lasts is never forgotten. */
function trimmed(history: readonly Grant[], holders: readonly Held[]): readonly Grant[] {
  const isOver = ({ token }: Grant) => !holders.some((held) => held.token === token);
  const surplus = history.length - GRANT_HISTORY;
  if (surplus <= 0) return history;
  const oldest = new Set(history.filter(isOver).slice(0, surplus));
  return history.filter((each) => !oldest.has(each));
}

const NEWS: Readonly<Record<EndReason, string>> = {
  released: "resource.released",
  cancelled: "resource.released",
  expired: "resource.expired",
  preempted: "resource.preempted",
  "taken over": "resource.taken_over",
  "host lost": "resource.host_lost",
};

/** Ends a grant, once and with one reason. */
export function end(draft: Draft, held: Held, { reason, by, why, isOwn = false }: End): void {
  const { lock, nowMs } = draft;
  const { token, holder } = held;
  // An outage may delay the timer: what counts is when the grant was over, not when that was noticed.
  const endedAtMs = reason === "expired" ? Math.min(held.expiresAtMs, nowMs) : nowMs;
  const who = { by: by ?? null, why: why ?? null };
  change(draft, {
    leaseVersion: lock.leaseVersion + 1,
    holders: lock.holders.filter((other) => other !== held),
    history: lock.history.map((each) => (each.token === token ? { ...each, ...who, endedAtMs, reason } : each)),
  });
  const { resource } = lock;
  const fact: ResourceFact =
    isOwn && (reason === "released" || reason === "cancelled" || reason === "preempted")
      ? { type: "resource.released", resource, token, reason }
      : { type: "resource.revoked", resource, token, reason: revokedAs(reason), expiredAtMs: endedAtMs, ...who };
  const about = {
    holder,
    token,
    reason,
    ended_at_ms: endedAtMs,
    ...(by !== undefined && { by }),
    ...(why !== undefined && { why }),
  };
  note(draft, NEWS[reason], about, { to: holder, fact, priority: isOwn ? "low" : "normal" });
}

const revokedAs = (reason: EndReason) => (reason === "released" || reason === "cancelled" ? "expired" : reason);

/** Ends a wait without a grant. */
export function refuse(draft: Draft, waiter: string, reason: string): void {
  const { queue, resource, token } = draft.lock;
  change(draft, { queue: leave(queue, waiter) });
  const fact = { type: "resource.refused", resource, reason } as const;
  note(draft, "resource.refused", { holder: waiter, token, reason }, { to: waiter, fact, priority: "high" });
}

/** Keeps the end of a client's wait until it asks again. */
export function keepRefusal(draft: Draft, refusal: Refusal): void {
  const others = (draft.lock.refusals ?? []).filter(({ holder }) => holder !== refusal.holder);
  change(draft, { refusals: [...others, refusal].slice(-REFUSALS_LIMIT) });
}

/** Why the client's last wait ended, once. */
export function takeRefusal(draft: Draft, who: string): string | undefined {
  const refusal = draft.lock.refusals?.find(({ holder }) => holder === who);
  if (refusal === undefined) return undefined;
  change(draft, { refusals: draft.lock.refusals?.filter((each) => each !== refusal) ?? [] });
  return draft.nowMs - refusal.atMs < REFUSAL_KEPT_MS ? refusal.reason : undefined;
}

/** Passes on what is free, and asks a holder to pause for a critical request that is first. */
export function passOn(draft: Draft): void {
  const { queue: line, capacity } = draft.lock;
  // Fewer places than one asked for would keep it, and all behind it, for ever.
  for (const { holder, permits } of line)
    if (permits > capacity) refuse(draft, holder, `wants ${permits} permits, and the capacity is ${capacity} now`);
  const isOpen = draft.lock.closed.length === 0 && draft.lock.stopping === null;
  let next = nextOf(draft.lock);
  while (isOpen && next !== undefined && fits(draft.lock, next.permits)) {
    grant(draft, next);
    next = nextOf(draft.lock);
  }
  const { claim, queue } = draft.lock;
  const isVoid =
    claim !== null && !(queue.some(({ holder }) => holder === claim.for) && heldUnder(draft.lock, claim.token));
  if (isVoid) change(draft, { claim: null });
  if (isOpen && draft.lock.claim === null) preempt(draft);
}

/** The one for whom the lock is kept, else the first in line. */
function nextOf({ claim, queue }: ResourceContext): Waiter | undefined {
  return queue.find(({ holder }) => holder === claim?.for) ?? queue[0];
}

/** Asks the least urgent, latest holder to pause for a critical waiter. Its equals are never asked. */
function preempt(draft: Draft): void {
  const { lock, nowMs } = draft;
  const first = lock.queue.find(({ priority }) => priority === "critical");
  if (first === undefined) return;
  const [victim] = lock.holders
    .filter(({ priority }) => priority !== "critical")
    .toSorted((a, b) => priorityRank(b.priority) - priorityRank(a.priority) || b.token - a.token);
  if (victim === undefined) return;
  const { token, holder } = victim;
  const untilMs = nowMs + lock.graceMs;
  change(draft, { claim: { for: first.holder, token, untilMs } });
  const fact = { type: "resource.pause", resource: lock.resource, token, by: first.holder, untilMs } as const;
  note(
    draft,
    "resource.preempting",
    { holder, token, by: first.holder, until_ms: untilMs },
    { to: holder, fact, priority: "normal" },
  );
}

/** Takes a grant away by force; the next one is given once the holder confirmed, or did not in time. */
export function takeAway(draft: Draft, held: Held, to: Waiter, how: End, isConfirmed = true): void {
  end(draft, held, how);
  const { token, holder } = held;
  const stopping = { token, holder, to, untilMs: draft.nowMs + CONFIRM_MS, how, isConfirmed };
  change(draft, { claim: null, queue: leave(draft.lock.queue, to.holder), stopping });
  if (!isActor(holder)) finishTakeover(draft, false); // clients have no address to be asked at
}

/** Ends the wait for a former holder. An operator gets as many grants as it needs, the latest first, one after the other. */
export function finishTakeover(draft: Draft, confirmed: boolean): void {
  const { stopping, holders } = draft.lock;
  if (stopping === null) return;
  const { to, how, isConfirmed = true } = stopping;
  const isAllConfirmed = confirmed && isConfirmed;
  const next = how?.reason === "taken over" && !fits(draft.lock, to.permits) ? holders.at(-1) : undefined;
  change(draft, { stopping: null });
  if (how === undefined || next === undefined) give(draft, to, isAllConfirmed);
  else takeAway(draft, next, to, how, isAllConfirmed);
}

/** Grants to one who takes over, maintenance or not; while the host is lost, or there is no room yet, it is next. */
export function give(draft: Draft, to: Waiter, confirmed: boolean | null): void {
  const isAway = draft.lock.closed.some(({ reason }) => reason === "host lost");
  if (!isAway && fits(draft.lock, to.permits)) {
    grant(draft, to, confirmed);
    return;
  }
  const bumped = { by: to.holder, why: "takeover", atMs: draft.nowMs };
  change(draft, { queue: enqueue(leave(draft.lock.queue, to.holder), { ...to, bumped }) });
}

/** What is due by the clock: expiries, warnings, the end of a grace, the end of a wait for a confirmation. */
export function passTime(draft: Draft): void {
  const { nowMs } = draft;
  for (const held of draft.lock.holders) if (held.expiresAtMs <= nowMs) end(draft, held, { reason: "expired" });
  for (const held of draft.lock.holders) {
    if (held.isWarned || warnAtMs(held) > nowMs) continue;
    const { token, holder, expiresAtMs } = held;
    change(draft, { holders: draft.lock.holders.map((each) => (each === held ? { ...each, isWarned: true } : each)) });
    tell(draft, holder, token, { type: "resource.expiring", resource: draft.lock.resource, token, expiresAtMs });
  }
  const { claim, stopping } = draft.lock;
  if (stopping !== null && stopping.untilMs <= nowMs) finishTakeover(draft, false);
  if (claim !== null && (claim.untilMs ?? Infinity) <= nowMs) applyPolicy(draft, claim.token, claim.for);
}

function applyPolicy(draft: Draft, token: number, by: string): void {
  const { lock } = draft;
  const held = heldUnder(lock, token);
  const to = lock.queue.find(({ holder }) => holder === by);
  if (lock.claim !== null) change(draft, { claim: { ...lock.claim, untilMs: null } });
  if (held === undefined || to === undefined || lock.policy === "wait" || lock.closed.length > 0) return;
  const why = "No safe point within the grace time";
  if (lock.policy === "takeover") takeAway(draft, held, to, { reason: "preempted", by, why });
  else {
    const fact = { type: "resource.abort", resource: lock.resource, token, by } as const;
    note(
      draft,
      "resource.abort_asked",
      { holder: held.holder, token, by },
      { to: held.holder, fact, priority: "normal" },
    );
  }
}

/** Tells a waiter its place. */
export function queued(draft: Draft, holder: string): void {
  const ticket = ticketOf(draft.lock, holder, draft.nowMs);
  const { resource, token } = draft.lock;
  const about = {
    holder,
    token,
    position: ticket.position,
    held_by: ticket.holder,
    why: ticket.why,
    estimate_ms: ticket.estimateMs,
  };
  note(draft, "resource.queued", about, { to: holder, fact: { type: "resource.queued", resource, ...ticket } });
}
