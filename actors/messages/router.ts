/** Commands to the router of a pool. Invariant: a pool and its router's id map one to one. */
import type { LabEvent } from "./event.ts";

export type RouterMessage =
  /** Replaces the agent's former subscription. Types are exact, `prefix.*`, or `*` for all. */
  | { readonly type: "subscribe"; readonly agent: string; readonly types: readonly string[] }
  | { readonly type: "unsubscribe"; readonly agent: string }
  | { readonly type: "route"; readonly event: LabEvent };

export interface RouteReply {
  readonly agents: readonly string[];
}

/** `shared.alerts` → `shared:alerts`: an actor's id holds no dots. Pool words hold no colon. */
export const routerId = (pool: string): string => pool.replaceAll(".", ":");
export const poolOf = (id: string): string => id.replaceAll(":", ".");
