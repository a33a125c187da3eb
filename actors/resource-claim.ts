/**
 * Who asks a lock for what, and why it may not have it. Invariant: pure; only the holder of a token may use it, only a
 * client may give an operator's command, and whatever is refused is refused with the way out.
 */
import { addressOf, keyOf } from "../runtime/address.ts";
import { isPriority } from "../runtime/priority.ts";
import { PREEMPTION_POLICIES, type RefusalCode, type ResourceMessage } from "./messages/resource.ts";
import { WAIT_GRAPH } from "./messages/wait-graph.ts";
import { positionOf, QUEUE_LIMIT } from "./resource-queue.ts";
import { heldBy, heldUnder, type ResourceContext } from "./resource-state.ts";

/** Shortest lock, in ms: below it a renewal cannot be relied on to arrive in time. */
export const LOCK_TTL_MIN_MS = 100;
/** Longest lock without a renewal, in ms: a day. A forgotten one frees itself. */
export const LOCK_TTL_MAX_MS = 86_400_000;
/** Places of a counted resource at most: beyond it is no scarce thing. */
export const CAPACITY_MAX = 1_000;
/** Longest reason that an operator gives, in characters. */
const WHY_LIMIT_CHARS = 500;

export interface Problem {
  readonly code: RefusalCode;
  readonly message: string;
}

const CLIENT = "client/";
const CLIENT_NAME = /^client\/[A-Za-z0-9_.:@=+~-]{1,128}$/;
const ACTOR_KEY = /^[a-z][a-z0-9-]*\/[A-Za-z0-9_:@=+~-]+$/;

/** Actors have an address to be told at; clients ask again. */
export const isActor = (holder: string): boolean => !holder.startsWith(CLIENT) && ACTOR_KEY.test(holder);
const isClient = (value: unknown): boolean => typeof value === "string" && CLIENT_NAME.test(value);

/** The sending actor; else the name that a client gives itself; null if it gives none. An actor cannot speak for others. */
export function requesterOf(
  sender: string,
  event: { readonly type: string; readonly holder?: unknown; readonly by?: unknown },
): string | null {
  if (isActor(sender)) return sender;
  const named = event.holder ?? event.by;
  return isClient(named) ? (named as string) : null;
}

const bad = (message: string): Problem => ({ code: "BAD_REQUEST", message });
const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, 100) ?? "(missing)";
const isWhole = (value: unknown, min: number, max: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;

/** Why the request cannot be met in this state, or null. */
export function problemOf(lock: ResourceContext, event: ResourceMessage, who: string | null): Problem | null {
  switch (event.type) {
    case "acquire":
      return acquireProblem(lock, event, who);
    case "release":
    case "renew":
    case "yield":
    case "answerRelease":
      return tokenProblem(lock, event, who);
    case "cancel":
      return cancelProblem(lock, who);
    case "stopped":
      return stoppedProblem(lock, event.token, who);
    case "askRelease":
      return askProblem(lock, event, who);
    case "bump":
      return (
        operatorProblem(event, who) ??
        (typeof event.waiter === "string" ? null : bad("The command names whom to serve next: waiter")) ??
        (positionOf(lock.queue, event.waiter) > 0 ? null : notInLine(lock, event.waiter))
      );
    case "takeover":
      return operatorProblem(event, who) ?? ttlProblem(event.ttlMs) ?? takeoverProblem(lock, event);
    case "maintain":
      return (
        operatorProblem(event, who) ??
        (typeof event.on === "boolean" ? null : bad("The field on is neither true nor false"))
      );
    case "configure":
      return configureProblem(event, who);
    case "refuseWaiter":
      return isFrom(who, (kind) => kind === WAIT_GRAPH.kind)
        ? null
        : bad("Only the wait-for graph refuses a waiter: use cancel");
    case "hostLost":
    case "hostBack":
      return who === keyOf("device", lock.resource)
        ? null
        : bad("Only the device itself tells of its host: use maintain");
  }
}

const isFrom = (who: string | null, isKind: (kind: string) => boolean): boolean =>
  who !== null && isActor(who) && isKind(addressOf(who).kind);

function acquireProblem(
  lock: ResourceContext,
  event: ResourceMessage & { type: "acquire" },
  who: string | null,
): Problem | null {
  if (who === null)
    return bad('The lock needs to know its holder: send from an actor, or give holder: "client/<name>"');
  if (!isPriority(event.priority))
    return bad(`The priority ${shown(event.priority)} is not known: use critical, high, normal or low`);
  const { permits = 1 } = event;
  if (!isWhole(permits, 1, lock.capacity))
    return bad(
      `The permits ${shown(permits)} are not a whole number from 1 to ${lock.capacity}, which is what "${lock.resource}" has`,
    );
  const ttl = ttlProblem(event.ttlMs);
  if (ttl !== null) return ttl;
  const hasPlace = heldBy(lock, who) !== undefined || positionOf(lock.queue, who) > 0;
  if (!hasPlace && lock.queue.length >= QUEUE_LIMIT)
    return { code: "QUEUE_FULL", message: `Resource "${lock.resource}" has ${QUEUE_LIMIT} waiters: try again later` };
  return null;
}

const ttlProblem = (ttlMs: unknown): Problem | null =>
  isWhole(ttlMs, LOCK_TTL_MIN_MS, LOCK_TTL_MAX_MS)
    ? null
    : bad(`The ttlMs ${shown(ttlMs)} is not a whole number from ${LOCK_TTL_MIN_MS} to ${LOCK_TTL_MAX_MS}`);

type WithToken = ResourceMessage & { type: "release" | "renew" | "yield" | "answerRelease" };

function tokenProblem(lock: ResourceContext, event: WithToken, who: string | null): Problem | null {
  const held = heldUnder(lock, event.token);
  if (held === undefined) return unknownToken(lock, event.token);
  const isAnonymousClient = who === null && !isActor(held.holder);
  if (who !== held.holder && !isAnonymousClient)
    return {
      code: "NOT_HOLDER",
      message: `Resource "${lock.resource}" is held by "${held.holder}": only it may ${event.type}`,
    };
  if (event.type === "answerRelease" && typeof event.accept !== "boolean")
    return bad("The field accept is neither true nor false");
  return null;
}

/** One that gives no token may hold a good grant: it must not be told to stop. */
const unknownToken = (lock: ResourceContext, token: unknown): Problem =>
  token === undefined
    ? bad(`The command names no grant of resource "${lock.resource}": give its token`)
    : { code: "STALE_TOKEN", message: staleText(lock, token) };

/** Says how the grant ended, to one who may not have heard. */
export function staleText({ resource, token: last, history }: ResourceContext, token: unknown): string {
  const past = history.find((each) => each.token === token);
  const by = past?.by ? ` by "${past.by}"` : "";
  const why = past?.why ? `: ${past.why}` : "";
  const how = past?.reason ? ` (${past.reason}${by}${why})` : "";
  return `Token ${shown(token)} of resource "${resource}" is over${how}: the last one issued is ${last}; stop acting under it`;
}

function notWaiting({ resource }: ResourceContext, who: string | null): Problem {
  const name = who === null ? "The sender" : `"${who}"`;
  return { code: "NOT_WAITING", message: `${name} neither holds resource "${resource}" nor waits for it` };
}

const notInLine = ({ resource }: ResourceContext, waiter: string): Problem => ({
  code: "NOT_WAITING",
  message: `"${waiter}" does not wait for resource "${resource}"`,
});

function cancelProblem(lock: ResourceContext, who: string | null): Problem | null {
  const isThere =
    who !== null &&
    (heldBy(lock, who) !== undefined || positionOf(lock.queue, who) > 0 || lock.stopping?.to.holder === who);
  return isThere ? null : notWaiting(lock, who);
}

function stoppedProblem({ resource, stopping }: ResourceContext, token: unknown, who: string | null): Problem | null {
  if (stopping !== null && stopping.token === token && stopping.holder === who) return null;
  return { code: "STALE_TOKEN", message: `Nobody waits for ${shown(token)} of resource "${resource}" to stop` };
}

function askProblem(
  lock: ResourceContext,
  event: ResourceMessage & { type: "askRelease" },
  who: string | null,
): Problem | null {
  if (who === null) return bad('The lock needs to know who asks: send from an actor, or give holder: "client/<name>"');
  if (!isWhole(event.byMs, 0, Number.MAX_SAFE_INTEGER))
    return bad(`The byMs ${shown(event.byMs)} is no time in ms since 1970`);
  return heldUnder(lock, event.token) === undefined ? unknownToken(lock, event.token) : null;
}

function operatorProblem(
  { by, why }: { readonly by: unknown; readonly why: unknown },
  who: string | null,
): Problem | null {
  if (who === null || isActor(who) || who !== by)
    return bad('An operator\'s command names who gives it: by: "client/<name>"');
  const isGiven = typeof why === "string" && why.trim() !== "" && why.length <= WHY_LIMIT_CHARS;
  return isGiven ? null : bad(`An operator's command says why, in 1 to ${WHY_LIMIT_CHARS} characters`);
}

function takeoverProblem(lock: ResourceContext, event: ResourceMessage & { type: "takeover" }): Problem | null {
  const { priority = "critical", by } = event;
  if (!isPriority(priority))
    return bad(`The priority ${shown(priority)} is not known: use critical, high, normal or low`);
  const { stopping } = lock;
  return stopping === null || stopping.to.holder === by
    ? null
    : bad(`Resource "${lock.resource}" is being taken over by "${stopping.to.holder}": try again in some seconds`);
}

function configureProblem(event: ResourceMessage & { type: "configure" }, who: string | null): Problem | null {
  const { by, capacity = 1, policy = "wait", graceMs = 0 } = event;
  const operator = operatorProblem({ by, why: "configured" }, who);
  if (operator !== null) return operator;
  if (!isWhole(capacity, 1, CAPACITY_MAX))
    return bad(`The capacity ${shown(capacity)} is not a whole number from 1 to ${CAPACITY_MAX}`);
  if (!(PREEMPTION_POLICIES as readonly unknown[]).includes(policy))
    return bad(`The policy ${shown(policy)} is not known: use ${PREEMPTION_POLICIES.join(", ")}`);
  return isWhole(graceMs, 0, LOCK_TTL_MAX_MS)
    ? null
    : bad(`The graceMs ${shown(graceMs)} is not a whole number from 0 to ${LOCK_TTL_MAX_MS}`);
}
