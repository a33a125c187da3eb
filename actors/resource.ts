/**
 * An exclusive lock with a line of waiters. Invariant: at most one holder at any time, tokens only grow and are never
 * issued twice, and every waiter ends with a grant or with a reason.
 */
import { assign, enqueueActions, setup } from "xstate";
import { addressOf } from "../runtime/address.ts";
import { publish, ref, reply } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { now } from "../runtime/transition-scope.ts";
import { placeOf } from "./messages/event.ts";
import { RESOURCE_POOL, type ResourceFact, type ResourceMessage, type ResourceReply } from "./messages/resource.ts";
import { isActor, isHolder, problemOf, requesterOf, type ResourceContext } from "./resource-claim.ts";
import { enqueue, leave, positionOf, type Queue, type Waiter } from "./resource-queue.ts";

/** Grants kept for a reader, latest last. All of them are in the pool {@link RESOURCE_POOL}. */
export const GRANT_HISTORY = 50;

type EndReason = "released" | "expired" | "cancelled";

function granted(
  context: ResourceContext,
  to: Pick<Waiter, "holder" | "ttlMs">,
  queue: Queue,
): Partial<ResourceContext> {
  const token = context.token + 1;
  const grant = { token, holder: to.holder, grantedAtMs: now(), endedAtMs: null, reason: null };
  return {
    token,
    holder: to.holder,
    ttlMs: to.ttlMs,
    grantedAtMs: now(),
    expiresAtMs: now() + to.ttlMs,
    queue,
    history: [...context.history, grant].slice(-GRANT_HISTORY),
  };
}

function ended(context: ResourceContext, reason: EndReason): Partial<ResourceContext> {
  // An outage may delay the timer: what counts is when the grant was over, not when that was noticed.
  const endedAtMs = reason === "expired" ? (context.expiresAtMs ?? now()) : now();
  const history = context.history.map((grant) =>
    grant.token === context.token ? { ...grant, endedAtMs, reason } : grant,
  );
  return { holder: null, ttlMs: null, grantedAtMs: null, expiresAtMs: null, history };
}

/** What is said of the lock in its pool. `holder` is the one that the news is about. */
function news(context: ResourceContext, holder: string | null) {
  const place = placeOf(context.resource);
  return {
    resource: context.resource,
    token: context.token,
    holder,
    waiting: context.queue.length,
    ...(place !== null && { host_name: place.host, device_id: place.device }),
  };
}

/** The holder whose grant has just ended. */
const lastHolder = (context: ResourceContext): string | null => context.history.at(-1)?.holder ?? null;

function grantReply(context: ResourceContext): ResourceReply {
  return { ok: true, state: "granted", token: context.token, expiresAtMs: context.expiresAtMs ?? 0 };
}

const grantFact = (context: ResourceContext): ResourceFact => ({
  type: "resource.granted",
  resource: context.resource,
  token: context.token,
  expiresAtMs: context.expiresAtMs ?? 0,
});

const base = setup({
  types: {} as { context: ResourceContext; events: ResourceMessage; input: { readonly id: string } },
  delays: { ttl: ({ context }) => Math.max(0, (context.expiresAtMs ?? 0) - now()) },
  guards: {
    isRefused: ({ context, event }) => problemOf(context, event) !== null,
    isHolder: ({ context, event }) => isHolder(context, event),
    isAwaited: ({ context }) => context.queue.length > 0,
  },
  actions: {
    refuse: enqueueActions(({ context, event, enqueue: add }) => {
      const problem = problemOf(context, event);
      if (problem === null) return;
      add(reply((): ResourceReply => ({ ok: false, ...problem })));
      const who = requesterOf(event);
      // Only those who wait for an answer by message get one: a stale release changes nothing and needs none.
      if (who !== null && isActor(who) && (event.type === "acquire" || event.type === "cancel")) {
        const { kind, id } = addressOf(who);
        add.sendTo(ref(kind, id), { type: "resource.refused", resource: context.resource, reason: problem.message });
      }
    }),
    grantAsker: assign(({ context, event }) => {
      const holder = requesterOf(event);
      return event.type === "acquire" && holder !== null
        ? granted(context, { holder, ttlMs: event.ttlMs }, leave(context.queue, holder))
        : {};
    }),
    grantNext: assign(({ context }) => {
      const [next, ...others] = context.queue;
      return next === undefined ? {} : granted(context, next, others);
    }),
    extend: assign(({ context }) => ({ expiresAtMs: now() + (context.ttlMs ?? 0) })),
    joinLine: assign(({ context, event }) => {
      const holder = requesterOf(event);
      if (event.type !== "acquire" || holder === null) return {};
      return {
        queue:
          enqueue(context.queue, { holder, priority: event.priority, ttlMs: event.ttlMs, sinceMs: now() }) ??
          context.queue,
      };
    }),
    leaveLine: assign(({ context, event }) => ({ queue: leave(context.queue, requesterOf(event) ?? "") })),
    endReleased: assign(({ context }) => ended(context, "released")),
    endCancelled: assign(({ context }) => ended(context, "cancelled")),
    endExpired: assign(({ context }) => ended(context, "expired")),
    tellGranted: enqueueActions(({ context, enqueue: add }) => {
      if (context.holder === null || !isActor(context.holder)) return;
      const { kind, id } = addressOf(context.holder);
      add.sendTo(ref(kind, id), grantFact(context));
    }),
    tellQueued: enqueueActions(({ context, event, enqueue: add }) => {
      const who = requesterOf(event) ?? "";
      const place = { position: positionOf(context.queue, who), holder: context.holder ?? "" };
      add(reply((): ResourceReply => ({ ok: true, state: "queued", ...place })));
      if (!isActor(who)) return;
      const { kind, id } = addressOf(who);
      add.sendTo(ref(kind, id), { type: "resource.queued", resource: context.resource, ...place });
    }),
    tellLeft: enqueueActions(({ context, event, enqueue: add }) => {
      add(reply((): ResourceReply => ({ ok: true, state: "cancelled" })));
      const who = requesterOf(event) ?? "";
      if (!isActor(who)) return;
      const { kind, id } = addressOf(who);
      add.sendTo(ref(kind, id), { type: "resource.refused", resource: context.resource, reason: "cancelled" });
    }),
    tellEnded: enqueueActions(({ context, enqueue: add }) => {
      const last = context.history.at(-1);
      if (last === undefined || !isActor(last.holder)) return;
      const { kind, id } = addressOf(last.holder);
      const fact: ResourceFact =
        last.reason === "expired"
          ? {
              type: "resource.revoked",
              resource: context.resource,
              token: last.token,
              reason: "expired",
              expiredAtMs: last.endedAtMs ?? now(),
            }
          : {
              type: "resource.released",
              resource: context.resource,
              token: last.token,
              reason: last.reason ?? "released",
            };
      add.sendTo(ref(kind, id), fact);
    }),
    publishGranted: publish(RESOURCE_POOL, ({ context }) => ({
      type: "resource.granted",
      priority: "low",
      data: news(context, context.holder),
    })),
    publishReleased: publish(RESOURCE_POOL, ({ context }) => ({
      type: "resource.released",
      priority: "low",
      data: news(context, lastHolder(context)),
    })),
    publishExpired: publish(RESOURCE_POOL, ({ context }) => ({
      type: "resource.expired",
      priority: "normal",
      data: news(context, lastHolder(context)),
    })),
    answerGranted: reply(({ context }) => grantReply(context)),
    answerReleased: reply((): ResourceReply => ({ ok: true, state: "released" })),
  },
});

const machine = base.createMachine({
  id: "resource",
  context: ({ input }) => ({
    resource: input.id,
    token: 0,
    holder: null,
    ttlMs: null,
    grantedAtMs: null,
    expiresAtMs: null,
    queue: [],
    history: [],
  }),
  initial: "free",
  states: {
    free: {
      on: {
        acquire: [
          { guard: "isRefused", actions: "refuse" },
          { target: "held", actions: ["grantAsker", "tellGranted", "answerGranted", "publishGranted"] },
        ],
        release: { actions: "refuse" },
        renew: { actions: "refuse" },
        cancel: { actions: "refuse" },
      },
    },
    held: {
      on: {
        acquire: [
          { guard: "isRefused", actions: "refuse" },
          { guard: "isHolder", actions: ["tellGranted", "answerGranted"] },
          { actions: ["joinLine", "tellQueued"] },
        ],
        release: [
          { guard: "isRefused", actions: "refuse" },
          { target: "handover", actions: ["endReleased", "tellEnded", "answerReleased", "publishReleased"] },
        ],
        // Entered again so that the expiry is timed anew.
        renew: [
          { guard: "isRefused", actions: "refuse" },
          { target: "held", reenter: true, actions: ["extend", "answerGranted"] },
        ],
        cancel: [
          { guard: "isRefused", actions: "refuse" },
          {
            guard: "isHolder",
            target: "handover",
            actions: ["endCancelled", "tellEnded", "answerReleased", "publishReleased"],
          },
          { actions: ["leaveLine", "tellLeft"] },
        ],
      },
      after: { ttl: { target: "handover", actions: ["endExpired", "tellEnded", "publishExpired"] } },
    },
    handover: {
      always: [
        { guard: "isAwaited", target: "held", actions: ["grantNext", "tellGranted", "publishGranted"] },
        { target: "free" },
      ],
    },
  },
});

export const resourceKind = defineActor({ kind: "resource", machine, publishStatus: true });
