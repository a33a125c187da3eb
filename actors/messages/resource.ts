/**
 * Commands to a lock and the facts that it tells its holders. Invariant: a token is never issued twice for one resource,
 * and a larger one is always the newer grant.
 */
import type { Priority } from "../../runtime/priority.ts";

/** What happens to a holder that does not pause in time for a critical request. */
export const PREEMPTION_POLICIES = ["wait", "abort", "takeover"] as const;
export type PreemptionPolicy = (typeof PREEMPTION_POLICIES)[number];

/** Commands. The holder is the sending actor; a client, which has no address, names itself `client/<name>`. */
export type ResourceMessage =
  | {
      readonly type: "acquire";
      readonly priority: Priority;
      readonly ttlMs: number;
      readonly holder?: string;
      /** Places of a counted resource. Default 1. */
      readonly permits?: number;
    }
  | { readonly type: "release"; readonly token: number; readonly holder?: string }
  | { readonly type: "renew"; readonly token: number; readonly holder?: string }
  | { readonly type: "cancel"; readonly holder?: string }
  /** A holder that was asked to pause lets go and waits for its next grant, in the place of its first arrival. */
  | { readonly type: "yield"; readonly token: number; readonly holder?: string }
  /** A holder whose grant was taken over confirms that nothing of it runs any more. */
  | { readonly type: "stopped"; readonly token: number; readonly holder?: string }
  /** Asks the holder of `token` to let go by a time; it answers with `answerRelease`. */
  | { readonly type: "askRelease"; readonly token: number; readonly byMs: number; readonly holder?: string }
  | { readonly type: "answerRelease"; readonly token: number; readonly accept: boolean; readonly holder?: string }
  /** An operator's: `waiter` is served next. */
  | { readonly type: "bump"; readonly waiter: string; readonly by: string; readonly why: string }
  /** An operator's: the holder is stopped and the resource given to `by`. */
  | {
      readonly type: "takeover";
      readonly by: string;
      readonly why: string;
      readonly ttlMs: number;
      readonly priority?: Priority;
    }
  /** An operator's: while `on`, nobody is granted; who holds may end. */
  | { readonly type: "maintain"; readonly on: boolean; readonly by: string; readonly why: string }
  /** An operator's: how many hold at once, and what a critical request does to a holder that does not pause. */
  | {
      readonly type: "configure";
      readonly by: string;
      readonly capacity?: number;
      readonly policy?: PreemptionPolicy;
      readonly graceMs?: number;
    }
  /** The wait-for graph's: `holder` waits in a cycle and is the one that gives way. */
  | { readonly type: "refuseWaiter"; readonly waiter: string; readonly sinceMs: number; readonly reason: string }
  /** The device's own actor: its host is gone, or back. */
  | { readonly type: "hostLost" }
  | { readonly type: "hostBack" };

/** Every grant ends with exactly one. */
export type EndReason = "released" | "expired" | "preempted" | "taken over" | "host lost" | "cancelled";

/** Why somebody waits. */
export type WaitReason = "held" | "kept" | "taking over" | "maintenance" | "host lost";

/** What a waiter gets: its place, and what is known of the time. The same one however often it asks. */
export interface Ticket {
  readonly position: number;
  /** The first of those that hold, or "" if nobody does. */
  readonly holder: string;
  readonly why: WaitReason;
  /** From past durations, in ms; null: nothing was measured yet, or the lock is closed. */
  readonly estimateMs: number | null;
}

/** Facts, told to holders that are actors. */
export type ResourceFact =
  | {
      readonly type: "resource.granted";
      readonly resource: string;
      readonly token: number;
      readonly expiresAtMs: number;
    }
  | ({ readonly type: "resource.queued"; readonly resource: string } & Ticket)
  | { readonly type: "resource.refused"; readonly resource: string; readonly reason: string }
  | {
      readonly type: "resource.revoked";
      readonly resource: string;
      readonly token: number;
      readonly reason: "expired" | "preempted" | "taken over" | "host lost";
      /** When the grant was over; the news of it may come much later. */
      readonly expiredAtMs: number;
      /** Who took it and why; null if nobody did. */
      readonly by: string | null;
      readonly why: string | null;
    }
  | {
      readonly type: "resource.released";
      readonly resource: string;
      readonly token: number;
      readonly reason: "released" | "cancelled" | "preempted";
    }
  /** Pause at the next safe point and `yield`, before `untilMs`. */
  | {
      readonly type: "resource.pause";
      readonly resource: string;
      readonly token: number;
      readonly by: string;
      readonly untilMs: number;
    }
  /** No pause came in time: give up what is under way and release. */
  | { readonly type: "resource.abort"; readonly resource: string; readonly token: number; readonly by: string }
  /** The lock ends soon: renew it if it is still needed. */
  | {
      readonly type: "resource.expiring";
      readonly resource: string;
      readonly token: number;
      readonly expiresAtMs: number;
    }
  | {
      readonly type: "resource.releaseAsked";
      readonly resource: string;
      readonly token: number;
      readonly by: string;
      readonly byMs: number;
    }
  | {
      readonly type: "resource.releaseAnswered";
      readonly resource: string;
      readonly token: number;
      readonly accepted: boolean;
      readonly byMs: number;
    };

/** What a client that asks is answered; the lock's state stays as it was when `ok` is false. */
export type ResourceReply =
  | { readonly ok: true; readonly state: "granted"; readonly token: number; readonly expiresAtMs: number }
  | ({ readonly ok: true; readonly state: "queued" } & Ticket)
  | { readonly ok: true; readonly state: "released" | "cancelled" | "yielded" | "confirmed" | "asked" | "answered" }
  | { readonly ok: true; readonly state: "bumped" | "maintained" | "configured" | "refused" | "noted" }
  | { readonly ok: false; readonly code: RefusalCode; readonly message: string };

export type RefusalCode = "STALE_TOKEN" | "NOT_HOLDER" | "NOT_WAITING" | "DEADLOCK" | "QUEUE_FULL" | "BAD_REQUEST";

export const RESOURCE_POOL = "shared.resources";
