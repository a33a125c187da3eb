/**
 * What a lock does with a command, as one pure function. Invariant: a refused command changes nothing but that its refusal is
 * known; every accepted one leaves its facts in the order in which they happened.
 */
import type { ResourceMessage, ResourceReply } from "./messages/resource.ts";
import { isActor, type Problem, problemOf } from "./resource-claim.ts";
import {
  change,
  type Draft,
  end,
  finishTakeover,
  give,
  grant,
  keepRefusal,
  type LockFact,
  note,
  passOn,
  passTime,
  queued,
  refuse,
  takeAway,
  takeRefusal,
  tell,
} from "./resource-grants.ts";
import { bump, enqueue, leave, type Waiter } from "./resource-queue.ts";
import { fits, type Held, heldBy, heldUnder, type ResourceContext, ticketOf } from "./resource-state.ts";

/** The lock's own timer. */
export interface TimePassed {
  readonly type: "timePassed";
}

export interface Decision {
  readonly lock: ResourceContext;
  readonly facts: readonly LockFact[];
  readonly reply: ResourceReply | null;
  readonly problem: Problem | null;
}

/** `who`: the sending actor, or what a client calls itself; null if it gives no name. */
export function decide(
  lock: ResourceContext,
  command: ResourceMessage | TimePassed,
  who: string | null,
  nowMs: number,
): Decision {
  const draft: Draft = { lock, facts: [], nowMs };
  if (command.type === "timePassed") {
    passTime(draft);
    passOn(draft);
    return { lock: draft.lock, facts: draft.facts, reply: null, problem: null };
  }
  const problem = problemOf(lock, command, who);
  if (problem !== null) return { lock, facts: [], reply: { ok: false, ...problem }, problem };
  const reply = obey(draft, command, who ?? "");
  return { lock: draft.lock, facts: draft.facts, reply, problem: null };
}

function obey(draft: Draft, command: ResourceMessage, who: string): ResourceReply {
  switch (command.type) {
    case "acquire":
      return acquire(draft, command, who);
    case "release":
      return letGo(draft, command.token, "released");
    case "renew":
      return renew(draft, command.token);
    case "cancel":
      return cancel(draft, who);
    case "yield":
      return yieldTo(draft, command.token);
    case "stopped":
      finishTakeover(draft, true);
      passOn(draft);
      return { ok: true, state: "confirmed" };
    case "askRelease":
      return askRelease(draft, command, who);
    case "answerRelease":
      return answerRelease(draft, command);
    case "bump":
      return bumped(draft, command);
    case "takeover":
      return takeover(draft, command);
    case "refuseWaiter":
      return refuseWaiter(draft, command);
    case "maintain":
    case "configure":
    case "hostLost":
    case "hostBack":
      return administer(draft, command);
  }
}

function acquire(draft: Draft, command: ResourceMessage & { type: "acquire" }, who: string): ResourceReply {
  const held = heldBy(draft.lock, who);
  const { resource } = draft.lock;
  if (held !== undefined) {
    const { token, expiresAtMs } = held;
    tell(draft, who, token, { type: "resource.granted", resource, token, expiresAtMs });
    return granted(held);
  }
  const refusal = takeRefusal(draft, who);
  if (refusal !== undefined) return { ok: false, code: "DEADLOCK", message: refusal };
  const { priority, ttlMs, permits = 1 } = command;
  const waiter: Waiter = { holder: who, priority, ttlMs, permits, sinceMs: draft.nowMs, bumped: null };
  const isNew = !draft.lock.queue.some(({ holder }) => holder === who) && draft.lock.stopping?.to.holder !== who;
  if (isNew) note(draft, "resource.requested", { holder: who, token: draft.lock.token, priority, permits });
  const isFree = draft.lock.queue.length === 0 && isOpen(draft.lock) && fits(draft.lock, permits);
  if (isFree) {
    grant(draft, waiter);
    return granted(heldBy(draft.lock, who));
  }
  if (isNew) change(draft, { queue: enqueue(draft.lock.queue, waiter) });
  if (isNew) queued(draft, who);
  else
    tell(draft, who, draft.lock.token, {
      type: "resource.queued",
      resource,
      ...ticketOf(draft.lock, who, draft.nowMs),
    });
  passOn(draft);
  // One that passes all who wait may find room at once: they want more places than are left.
  const given = heldBy(draft.lock, who);
  return given === undefined
    ? { ok: true, state: "queued", ...ticketOf(draft.lock, who, draft.nowMs) }
    : granted(given);
}

const isOpen = ({ closed, stopping }: ResourceContext): boolean => closed.length === 0 && stopping === null;

const granted = (held: Held | undefined): ResourceReply => ({
  ok: true,
  state: "granted",
  token: held?.token ?? 0,
  expiresAtMs: held?.expiresAtMs ?? 0,
});

function letGo(draft: Draft, token: number, reason: "released" | "cancelled"): ResourceReply {
  const held = heldUnder(draft.lock, token);
  if (held !== undefined) end(draft, held, { reason, isOwn: true });
  passOn(draft);
  return { ok: true, state: "released" };
}

function replaced(draft: Draft, held: Held, patch: Partial<Held>): Held {
  const next = { ...held, ...patch };
  change(draft, { holders: draft.lock.holders.map((each) => (each === held ? next : each)) });
  return next;
}

function renew(draft: Draft, token: number): ResourceReply {
  const held = heldUnder(draft.lock, token);
  if (held === undefined) return granted(held);
  const expiresAtMs = Math.min(draft.nowMs + held.ttlMs, held.releaseByMs ?? Number.POSITIVE_INFINITY);
  change(draft, { leaseVersion: draft.lock.leaseVersion + 1 });
  const next = replaced(draft, held, { expiresAtMs, isWarned: false });
  note(draft, "resource.renewed", { holder: held.holder, token, expires_at_ms: expiresAtMs });
  return granted(next);
}

function cancel(draft: Draft, who: string): ResourceReply {
  const held = heldBy(draft.lock, who);
  if (held !== undefined) return letGo(draft, held.token, "cancelled");
  // One for whom a takeover is under way changed its mind: nobody is given the lock but the line.
  if (draft.lock.stopping?.to.holder === who) change(draft, { stopping: null });
  change(draft, { queue: leave(draft.lock.queue, who) });
  const { resource, token } = draft.lock;
  const fact = { type: "resource.refused", resource, reason: "cancelled" } as const;
  note(draft, "resource.left", { holder: who, token, reason: "cancelled" }, { to: who, fact });
  passOn(draft);
  return { ok: true, state: "cancelled" };
}

function yieldTo(draft: Draft, token: number): ResourceReply {
  const held = heldUnder(draft.lock, token);
  if (held === undefined) return { ok: true, state: "yielded" };
  const { holder, priority, ttlMs, permits, sinceMs } = held;
  const by = draft.lock.claim?.token === token ? draft.lock.claim.for : undefined;
  end(draft, held, { reason: "preempted", isOwn: true, ...(by !== undefined && { by }) });
  const waiter = { holder, priority, ttlMs, permits, sinceMs, bumped: null };
  change(draft, { queue: enqueue(draft.lock.queue, waiter) });
  queued(draft, holder);
  passOn(draft);
  return { ok: true, state: "yielded" };
}

function askRelease(draft: Draft, command: ResourceMessage & { type: "askRelease" }, who: string): ResourceReply {
  const { token, byMs } = command;
  const held = heldUnder(draft.lock, token);
  if (held === undefined) return { ok: true, state: "asked" };
  replaced(draft, held, { asked: { by: who, byMs } });
  const fact = { type: "resource.releaseAsked", resource: draft.lock.resource, token, by: who, byMs } as const;
  note(
    draft,
    "resource.release_asked",
    { holder: held.holder, token, by: who, by_ms: byMs },
    { to: held.holder, fact },
  );
  return { ok: true, state: "asked" };
}

function answerRelease(draft: Draft, command: ResourceMessage & { type: "answerRelease" }): ResourceReply {
  const { token, accept } = command;
  const held = heldUnder(draft.lock, token);
  if (held === undefined || held.asked === null) return { ok: true, state: "answered" };
  const { by } = held.asked;
  const byMs = Math.max(held.asked.byMs, draft.nowMs); // what is past already is now
  const promised = accept ? { releaseByMs: byMs, expiresAtMs: Math.min(held.expiresAtMs, byMs) } : {};
  replaced(draft, held, { asked: null, ...promised });
  if (accept) change(draft, { leaseVersion: draft.lock.leaseVersion + 1 });
  const { resource } = draft.lock;
  const fact = { type: "resource.releaseAnswered", resource, token, accepted: accept, byMs } as const;
  note(
    draft,
    "resource.release_answered",
    { holder: held.holder, token, accepted: accept, by_ms: byMs },
    { to: by, fact },
  );
  return { ok: true, state: "answered" };
}

function bumped(draft: Draft, { waiter, by, why }: ResourceMessage & { type: "bump" }): ResourceReply {
  change(draft, { queue: bump(draft.lock.queue, waiter, { by, why, atMs: draft.nowMs }) });
  note(draft, "resource.bumped", { holder: waiter, token: draft.lock.token, by, why }, { priority: "normal" });
  passOn(draft);
  return { ok: true, state: "bumped" };
}

function takeover(draft: Draft, command: ResourceMessage & { type: "takeover" }): ResourceReply {
  const { by, why, ttlMs, priority = "critical" } = command;
  const own = heldBy(draft.lock, by);
  if (own !== undefined) return granted(own);
  if (draft.lock.stopping !== null) return { ok: true, state: "queued", ...ticketOf(draft.lock, by, draft.nowMs) };
  const before = draft.lock.queue.find(({ holder }) => holder === by);
  const permits = 1;
  const to = { holder: by, priority, ttlMs, permits, sinceMs: before?.sinceMs ?? draft.nowMs, bumped: null };
  note(draft, "resource.requested", { holder: by, token: draft.lock.token, priority, permits, why });
  const victim = fits(draft.lock, permits) ? undefined : draft.lock.holders.at(-1);
  if (victim === undefined) give(draft, to, null);
  else takeAway(draft, victim, to, { reason: "taken over", by, why });
  passOn(draft); // a grant of several places leaves some
  const held = heldBy(draft.lock, by);
  if (held !== undefined) return granted(held);
  return { ok: true, state: "queued", ...ticketOf(draft.lock, by, draft.nowMs) };
}

function refuseWaiter(draft: Draft, command: ResourceMessage & { type: "refuseWaiter" }): ResourceReply {
  const { waiter, sinceMs, reason } = command;
  const isWaiting = draft.lock.queue.some((each) => each.holder === waiter && each.sinceMs === sinceMs);
  if (!isWaiting) return { ok: true, state: "noted" }; // granted or gone meanwhile: the cycle is open
  refuse(draft, waiter, reason);
  if (!isActor(waiter)) keepRefusal(draft, { holder: waiter, reason, atMs: draft.nowMs });
  passOn(draft);
  return { ok: true, state: "refused" };
}

type Administration = ResourceMessage & { type: "maintain" | "configure" | "hostLost" | "hostBack" };

function administer(draft: Draft, command: Administration): ResourceReply {
  const { lock, nowMs } = draft;
  const without = (reason: string) => lock.closed.filter((each) => each.reason !== reason);
  const about = { holder: null, token: lock.token };
  switch (command.type) {
    case "maintain": {
      const { on, by, why } = command;
      const closed = on ? [{ reason: "maintenance", by, why, sinceMs: nowMs } as const] : [];
      change(draft, { closed: [...without("maintenance"), ...closed] });
      note(draft, "resource.maintenance", { ...about, on, by, why }, { priority: "normal" });
      break;
    }
    case "configure": {
      const { by, capacity = lock.capacity, policy = lock.policy, graceMs = lock.graceMs } = command;
      change(draft, { capacity, policy, graceMs });
      note(draft, "resource.configured", { ...about, by, capacity, policy, grace_ms: graceMs });
      break;
    }
    case "hostLost": {
      const why = "The device's host is gone";
      change(draft, {
        closed: [...without("host lost"), { reason: "host lost", by: "presence", why, sinceMs: nowMs }],
      });
      for (const held of draft.lock.holders) end(draft, held, { reason: "host lost", why });
      break;
    }
    case "hostBack":
      change(draft, { closed: without("host lost") });
  }
  passOn(draft);
  return { ok: true, state: command.type === "configure" ? "configured" : "maintained" };
}
