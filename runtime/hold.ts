/**
 * An actor that supervision has ended, until an operator lets it go on. Invariant: what was under way is kept aside whole, and a
 * lifted hold leaves the state as it was before, its timers and invocations included.
 */
import type { ActorState, Invocation, Timer } from "./actor-state.ts";

export interface Held {
  readonly by: "quarantine" | "stop" | "failover";
  /** Revision of the poison input that ended it. */
  readonly revision: number;
  /** Key of the actor that took the work over. */
  readonly to: string | null;
  readonly timers: readonly [string, Timer][];
  readonly invocations: readonly [string, Invocation][];
}

/** Ends the actor. Returns the invocations that must stop. */
export function hold(state: ActorState, by: Held["by"], reason: string, to: string | null = null): string[] {
  const { timers, invocations, revision } = state;
  const running = [...invocations.keys()];
  state.held = { by, revision: revision + 1, to, timers: [...timers], invocations: [...invocations] };
  state.stopped = reason;
  timers.clear();
  invocations.clear();
  return running;
}

/** Lets the actor go on. Returns what holds it again, if the input that should have lifted it fails. */
export function lift(state: ActorState): () => void {
  const { held, stopped, failures } = state;
  for (const [id, timer] of held?.timers ?? []) state.timers.set(id, timer);
  for (const [id, invocation] of held?.invocations ?? []) state.invocations.set(id, invocation);
  Object.assign(state, { held: null, stopped: null, failures: [] });
  return () => {
    Object.assign(state, { held, stopped, failures });
    state.timers.clear();
    state.invocations.clear();
  };
}

/** How an actor stands, in one word. */
export function statusOf({
  stopped,
  held,
  snapshot,
}: ActorState): "active" | "done" | "error" | "stopped" | "quarantined" {
  if (stopped !== null) return held?.by === "quarantine" ? "quarantined" : "stopped";
  return snapshot?.status ?? "active";
}
