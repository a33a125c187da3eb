/**
 * Several locks for one owner, all or none, or any one of equals. Invariant: it takes its locks in the order of their ids, so that
 * reservations never wait for each other in a circle, and whatever ends it gives all of them back.
 */
import { assign, cancel, enqueueActions, raise, setup } from "xstate";
import { addressOf, checkAddress, keyOf } from "../runtime/address.ts";
import { ref, reply } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { isPriority } from "../runtime/priority.ts";
import type { Priority } from "../runtime/priority.ts";
import { sender } from "../runtime/transition-scope.ts";
import type { ReservationFact, ReservationMessage, ReservedLock } from "./messages/reservation.ts";
import { isActor, LOCK_TTL_MAX_MS, LOCK_TTL_MIN_MS, requesterOf } from "./resource-claim.ts";

/** Locks of one reservation at most: more than a test rig has devices. */
export const RESERVED_LIMIT = 64;
/** What is held while others are waited for is renewed at this part of the time to live. */
const RENEW_PART = 3;
const KEEP_ALIVE = "keep-alive";
/** Timer of a client that waits: nobody sees one that is gone. An actor waits as long as it lives. */
const PATIENCE = "patience";

export interface ReservationContext {
  readonly id: string;
  readonly owner: string | null;
  readonly mode: "all" | "any";
  /** In the order of their ids. */
  readonly resources: readonly string[];
  readonly priority: Priority;
  readonly ttlMs: number;
  readonly locks: readonly ReservedLock[];
  readonly reason: string | null;
}

/** Why what `from` wants cannot be reserved, or null. */
export function reserveProblem(
  from: string,
  event: { readonly type: "reserve"; readonly [field: string]: unknown },
): string | null {
  const { mode, resources, priority, ttlMs } = event;
  if (requesterOf(from, event) === null)
    return 'The reservation needs its owner: send from an actor, or give holder: "client/<name>"';
  if (mode !== "all" && mode !== "any") return `The mode ${JSON.stringify(mode)} is not known: use all or any`;
  if (!isPriority(priority))
    return `The priority ${JSON.stringify(priority)} is not known: use critical, high, normal or low`;
  const isTime =
    Number.isSafeInteger(ttlMs) && (ttlMs as number) >= LOCK_TTL_MIN_MS && (ttlMs as number) <= LOCK_TTL_MAX_MS;
  if (!isTime)
    return `The ttlMs ${JSON.stringify(ttlMs)} is not a whole number from ${LOCK_TTL_MIN_MS} to ${LOCK_TTL_MAX_MS}`;
  const isList = Array.isArray(resources) && resources.length > 0 && resources.length <= RESERVED_LIMIT;
  if (!isList) return `A reservation names 1 to ${RESERVED_LIMIT} resources`;
  try {
    for (const id of resources as unknown[]) checkAddress("resource", id);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const next = ({ resources, locks }: ReservationContext): string | undefined =>
  resources.find((id) => !locks.some(({ resource }) => resource === id));
/** Those that are held or waited for. */
function askedFor(context: ReservationContext): readonly string[] {
  const waitsFor = context.resources.indexOf(next(context) ?? "");
  return context.mode === "any" || waitsFor < 0 ? context.resources : context.resources.slice(0, waitsFor + 1);
}
const isFromLock = (event: ReservationMessage): boolean =>
  "resource" in event && sender() === keyOf("resource", event.resource);
const isHeld = ({ locks }: ReservationContext, event: ReservationMessage): boolean =>
  "resource" in event &&
  "token" in event &&
  locks.some(({ resource, token }) => resource === event.resource && token === event.token);

function reasonOf(event: ReservationMessage): string {
  if (event.type === "resource.abort") return `${event.resource}: preempted by "${event.by}"`;
  const isLockNews = event.type === "resource.refused" || event.type === "resource.revoked";
  return isLockNews ? `${event.resource}: ${event.reason}` : "released";
}

const base = setup({
  types: {} as { context: ReservationContext; events: ReservationMessage; input: { readonly id: string } },
  delays: {
    ttl: ({ context }) => context.ttlMs,
  },
  guards: {
    isUnsound: ({ event }) => event.type === "reserve" && reserveProblem(sender(), event) !== null,
    isOwner: ({ context, event }) => requesterOf(sender(), event) === context.owner,
    isFromLock: ({ event }) => isFromLock(event),
    isOfClient: ({ context }) => context.owner !== null && !isActor(context.owner),
    isLoss: ({ context, event }) => isFromLock(event) && isHeld(context, event),
    isWhole: ({ context }) => (context.mode === "any" ? context.locks.length > 0 : next(context) === undefined),
  },
  actions: {
    begin: assign(({ event }) => {
      if (event.type !== "reserve") return {};
      const { mode, resources, priority, ttlMs } = event;
      return {
        owner: requesterOf(sender(), event),
        mode,
        resources: [...new Set(resources)].toSorted(),
        priority,
        ttlMs,
      };
    }),
    refuse: reply(({ event }) => ({
      ok: false,
      code: "BAD_REQUEST",
      message: event.type === "reserve" ? reserveProblem(sender(), event) : null,
    })),
    refuseSecond: reply(({ context: { id, owner } }) => ({
      ok: false,
      code: "BAD_REQUEST",
      message: `Reservation "${id}" is made, by "${owner}": reserve under another id`,
    })),
    refuseEnded: reply(({ context: { id, reason } }) => ({
      ok: false,
      code: "STALE_TOKEN",
      message: `Reservation "${id}" holds nothing (${reason ?? "it was never made"}): stop acting under it, and make a new one`,
    })),
    refuseStranger: reply(({ context }) => ({
      ok: false,
      code: "NOT_HOLDER",
      message: `Reservation "${context.id}" is of "${context.owner}": only it may change it`,
    })),
    /** The next one by id; of equals, all at once: the first that is free is taken and the others are left. */
    ask: enqueueActions(({ context, enqueue }) => {
      const { mode, resources, priority, ttlMs } = context;
      const first = next(context);
      for (const id of mode === "any" ? resources : first === undefined ? [] : [first])
        enqueue.sendTo(ref("resource", id), { type: "acquire", priority, ttlMs });
    }),
    take: assign(({ context, event }) =>
      event.type === "resource.granted"
        ? {
            locks: [
              ...context.locks.filter(({ resource }) => resource !== event.resource),
              { resource: event.resource, token: event.token },
            ],
          }
        : {},
    ),
    leaveOthers: enqueueActions(({ context: { resources, locks }, enqueue }) => {
      for (const id of resources)
        if (!locks.some(({ resource }) => resource === id)) enqueue.sendTo(ref("resource", id), { type: "cancel" });
    }),
    renewAll: enqueueActions(({ context: { locks }, enqueue }) => {
      for (const { resource, token } of locks) enqueue.sendTo(ref("resource", resource), { type: "renew", token });
    }),
    keepAlive: raise(
      { type: "keepAlive" },
      { id: KEEP_ALIVE, delay: ({ context }) => Math.floor(context.ttlMs / RENEW_PART) },
    ),
    awaitClient: raise({ type: "clientGone" }, { id: PATIENCE, delay: ({ context }) => context.ttlMs }),
    stopKeeping: cancel(KEEP_ALIVE),
    stopAwaiting: cancel(PATIENCE),
    /** A cancel ends a wait and a grant alike, and one that crosses it on the way too. */
    giveBackAll: enqueueActions(({ context, enqueue }) => {
      for (const id of askedFor(context)) enqueue.sendTo(ref("resource", id), { type: "cancel" });
    }),
    rememberReason: assign(({ event }) => ({ reason: reasonOf(event) })),
    rememberExpiry: assign(() => ({ reason: "expired: its owner did not renew it" })),
    declineRelease: enqueueActions(({ event, enqueue }) => {
      if (event.type !== "resource.releaseAsked") return;
      const { resource, token } = event;
      enqueue.sendTo(ref("resource", resource), { type: "answerRelease", token, accept: false });
    }),
    tellGranted: enqueueActions(({ context: { id, owner, locks }, enqueue }) => {
      if (owner === null || !isActor(owner)) return;
      const to = addressOf(owner);
      enqueue.sendTo(ref(to.kind, to.id), {
        type: "reservation.granted",
        reservation: id,
        locks,
      } satisfies ReservationFact);
    }),
    tellEnded: enqueueActions(({ context: { id, owner, reason }, enqueue }) => {
      if (owner === null || !isActor(owner)) return;
      const to = addressOf(owner);
      const fact: ReservationFact = { type: "reservation.ended", reservation: id, reason: reason ?? "released" };
      enqueue.sendTo(ref(to.kind, to.id), fact);
    }),
    answer: reply(({ context: { locks, mode, resources } }) => ({ ok: true, mode, resources, locks })),
    forgetLocks: assign(() => ({ locks: [] })),
  },
});

const lost = { guard: "isLoss", target: "ended", actions: ["rememberReason", "giveBackAll"] } as const;
const released = [
  { guard: "isOwner", target: "ended", actions: ["rememberReason", "giveBackAll", "answer"] },
  { actions: "refuseStranger" },
] as const;

const machine = base.createMachine({
  id: "reservation",
  context: ({ input }) => ({
    ...{ id: input.id, owner: null, mode: "all", resources: [], priority: "normal", ttlMs: LOCK_TTL_MAX_MS },
    ...{ locks: [], reason: null },
  }),
  initial: "new",
  // What else locks tell changes nothing here.
  on: {
    "resource.*": {},
    reserve: { actions: "refuseSecond" },
    renew: { actions: "refuseEnded" },
    release: { actions: "refuseEnded" },
  },
  states: {
    new: {
      on: {
        reserve: [
          { guard: "isUnsound", actions: "refuse" },
          { target: "acquiring", actions: ["begin", "keepAlive", "awaitClient", "answer"] },
        ],
      },
    },
    acquiring: {
      entry: "ask",
      on: {
        "resource.granted": { guard: "isFromLock", target: "checking", actions: "take" },
        "resource.refused": { guard: "isFromLock", target: "ended", actions: ["rememberReason", "giveBackAll"] },
        "resource.revoked": lost,
        "resource.abort": lost,
        "resource.releaseAsked": { actions: "declineRelease" },
        // What is held already is kept for an owner that waits.
        keepAlive: { actions: ["renewAll", "keepAlive"] },
        clientGone: { guard: "isOfClient", target: "ended", actions: ["rememberExpiry", "giveBackAll"] },
        renew: [{ guard: "isOwner", actions: ["awaitClient", "answer"] }, { actions: "refuseStranger" }],
        release: released,
      },
    },
    checking: {
      always: [
        {
          guard: "isWhole",
          target: "held",
          actions: ["leaveOthers", "stopKeeping", "stopAwaiting", "renewAll", "tellGranted"],
        },
        { target: "acquiring" },
      ],
    },
    held: {
      on: {
        "resource.revoked": lost,
        "resource.abort": lost,
        "resource.releaseAsked": { actions: "declineRelease" },
        renew: [
          { guard: "isOwner", target: "held", reenter: true, actions: ["renewAll", "answer"] },
          { actions: "refuseStranger" },
        ],
        release: released,
      },
      after: { ttl: { target: "ended", actions: ["rememberExpiry", "giveBackAll"] } },
    },
    /** Not final: the locks' last words still come. */
    ended: { entry: ["stopKeeping", "stopAwaiting", "tellEnded", "forgetLocks"] },
  },
});

export const reservationKind = defineActor({ kind: "reservation", machine, publishStatus: true });
