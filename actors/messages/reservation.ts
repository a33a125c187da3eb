/** Several locks in one call. Invariant: a reservation is granted whole or not at all. */
import type { Priority } from "../../runtime/priority.ts";
import type { ResourceFact } from "./resource.ts";

/** Commands of the owner: the actor that reserved, or the client by its name. */
export type ReservationCommand =
  | {
      readonly type: "reserve";
      /** `all` of them, or `any` one: the first that is free. */
      readonly mode: "all" | "any";
      readonly resources: readonly string[];
      readonly priority: Priority;
      /** An owner that does not renew for this long loses all, in ms; an actor that waits need not. */
      readonly ttlMs: number;
      readonly holder?: string;
    }
  | { readonly type: "renew"; readonly holder?: string }
  | { readonly type: "release"; readonly holder?: string };

export type ReservationMessage = ReservationCommand | ResourceFact | { readonly type: "keepAlive" | "clientGone" };

export interface ReservedLock {
  readonly resource: string;
  readonly token: number;
}

/** Told to an owner that is an actor. */
export type ReservationFact =
  | { readonly type: "reservation.granted"; readonly reservation: string; readonly locks: readonly ReservedLock[] }
  | { readonly type: "reservation.ended"; readonly reservation: string; readonly reason: string };
