/**
 * Who asks a lock for what, and why it may not have it. Invariant: pure; a request that passes here leaves the lock with
 * at most one holder, and only the holder of the newest token may renew or release.
 */
import { isPriority } from "../runtime/priority.ts";
import { sender } from "../runtime/transition-scope.ts";
import type { RefusalCode, ResourceMessage } from "./messages/resource.ts";
import { positionOf, type Queue, QUEUE_LIMIT } from "./resource-queue.ts";

/** Shortest lock, in ms: below it a renewal cannot be relied on to arrive in time. */
export const LOCK_TTL_MIN_MS = 100;
/** Longest lock without a renewal, in ms: a day. A forgotten one frees itself. */
export const LOCK_TTL_MAX_MS = 86_400_000;

export interface Grant {
  readonly token: number;
  readonly holder: string;
  readonly grantedAtMs: number;
  readonly endedAtMs: number | null;
  readonly reason: "released" | "expired" | "cancelled" | null;
}

export interface ResourceContext {
  readonly resource: string;
  /** The last one issued; 0 before the first grant. */
  readonly token: number;
  readonly holder: string | null;
  readonly ttlMs: number | null;
  readonly grantedAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly queue: Queue;
  /** Latest grants, latest last, the present one included. */
  readonly history: readonly Grant[];
}

export interface Problem {
  readonly code: RefusalCode;
  readonly message: string;
}

const CLIENT = "client/";
const CLIENT_NAME = /^client\/[A-Za-z0-9_.:@=+~-]{1,128}$/;
const ACTOR_KEY = /^[a-z][a-z0-9-]*\/[A-Za-z0-9_:@=+~-]+$/;

/** Actors have an address to be told at; clients ask again. */
export const isActor = (holder: string): boolean => !holder.startsWith(CLIENT) && ACTOR_KEY.test(holder);

/** The sending actor; else the name that a client gives itself; null if it gives none. An actor cannot speak for others. */
export function requesterOf(event: ResourceMessage): string | null {
  const from = sender();
  if (isActor(from)) return from;
  const named: unknown = event.holder;
  return typeof named === "string" && CLIENT_NAME.test(named) ? named : null;
}

export function isHolder(context: ResourceContext, event: ResourceMessage): boolean {
  return context.holder !== null && requesterOf(event) === context.holder;
}

/** Why the request cannot be met in this state, or null. */
export function problemOf(context: ResourceContext, event: ResourceMessage): Problem | null {
  switch (event.type) {
    case "acquire":
      return acquireProblem(context, event);
    case "release":
    case "renew":
      return tokenProblem(context, event);
    case "cancel":
      return cancelProblem(context, event);
  }
}

function acquireProblem(context: ResourceContext, event: ResourceMessage & { type: "acquire" }): Problem | null {
  const who = requesterOf(event);
  if (who === null)
    return {
      code: "BAD_REQUEST",
      message: 'The lock needs to know its holder: send from an actor, or give holder: "client/<name>"',
    };
  if (!isPriority(event.priority)) {
    return {
      code: "BAD_REQUEST",
      message: `The priority ${JSON.stringify(event.priority)} is not known: use critical, high, normal or low`,
    };
  }
  if (!Number.isSafeInteger(event.ttlMs) || event.ttlMs < LOCK_TTL_MIN_MS || event.ttlMs > LOCK_TTL_MAX_MS) {
    return {
      code: "BAD_REQUEST",
      message: `The ttlMs ${JSON.stringify(event.ttlMs)} is not a whole number from ${LOCK_TTL_MIN_MS} to ${LOCK_TTL_MAX_MS}`,
    };
  }
  const hasPlace = context.holder === null || context.holder === who || positionOf(context.queue, who) > 0;
  if (!hasPlace && context.queue.length >= QUEUE_LIMIT) {
    return {
      code: "QUEUE_FULL",
      message: `Resource "${context.resource}" has ${QUEUE_LIMIT} waiters: try again later`,
    };
  }
  return null;
}

function tokenProblem(
  context: ResourceContext,
  event: ResourceMessage & { type: "release" | "renew" },
): Problem | null {
  if (context.holder === null || event.token !== context.token) {
    return {
      code: "STALE_TOKEN",
      message: `Token ${JSON.stringify(event.token)} of resource "${context.resource}" is over: the last one issued is ${context.token}; stop acting under it`,
    };
  }
  const who = requesterOf(event);
  const isAnonymousClient = who === null && !isActor(context.holder);
  if (who === context.holder || isAnonymousClient) return null;
  return {
    code: "NOT_HOLDER",
    message: `Resource "${context.resource}" is held by "${context.holder}": only it may ${event.type}`,
  };
}

function cancelProblem(context: ResourceContext, event: ResourceMessage & { type: "cancel" }): Problem | null {
  const who = requesterOf(event);
  if (who !== null && (who === context.holder || positionOf(context.queue, who) > 0)) return null;
  return {
    code: "NOT_WAITING",
    message: `${who === null ? "The sender" : `"${who}"`} neither holds resource "${context.resource}" nor waits for it`,
  };
}
