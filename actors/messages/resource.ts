/**
 * Commands to a lock and the facts that it tells its holders. Invariant: a token is never issued twice for one resource,
 * and a larger one is always the newer grant.
 */
import type { Priority } from "../../runtime/priority.ts";

/** Commands. The holder is the sending actor; a client, which has no address, names itself `client/<name>`. */
export type ResourceMessage =
  | { readonly type: "acquire"; readonly priority: Priority; readonly ttlMs: number; readonly holder?: string }
  | { readonly type: "release"; readonly token: number; readonly holder?: string }
  | { readonly type: "renew"; readonly token: number; readonly holder?: string }
  | { readonly type: "cancel"; readonly holder?: string };

/** Facts, told to holders that are actors. */
export type ResourceFact =
  | {
      readonly type: "resource.granted";
      readonly resource: string;
      readonly token: number;
      readonly expiresAtMs: number;
    }
  | { readonly type: "resource.queued"; readonly resource: string; readonly position: number; readonly holder: string }
  | { readonly type: "resource.refused"; readonly resource: string; readonly reason: string }
  | {
      readonly type: "resource.revoked";
      readonly resource: string;
      readonly token: number;
      readonly reason: "expired";
      /** When the grant was over; the news of it may come much later. */
      readonly expiredAtMs: number;
    }
  | {
      readonly type: "resource.released";
      readonly resource: string;
      readonly token: number;
      readonly reason: "released" | "cancelled";
    };

/** What a client that asks is answered; the lock's state stays as it was when `ok` is false. */
export type ResourceReply =
  | { readonly ok: true; readonly state: "granted"; readonly token: number; readonly expiresAtMs: number }
  | { readonly ok: true; readonly state: "queued"; readonly position: number; readonly holder: string }
  | { readonly ok: true; readonly state: "released" | "cancelled" }
  | { readonly ok: false; readonly code: RefusalCode; readonly message: string };

export type RefusalCode = "STALE_TOKEN" | "NOT_HOLDER" | "NOT_WAITING" | "QUEUE_FULL" | "BAD_REQUEST";

export const RESOURCE_POOL = "shared.resources";
