/**
 * Timers of live activations, on the owner's clock. Invariant: a timer fires through the mailbox with its generation, so a
 * stale one is dropped; those of passivated actors are one scheduled wake-up in NATS (see `passivation.ts`).
 */
import type { Activation } from "./activation.ts";
import { type Clock, MAX_TIMEOUT_MS } from "./clock.ts";
import { encodeInput, type Input, Tag } from "./envelope.ts";
import { priorityRank } from "./priority.ts";

export type Inject = (activation: Activation, input: Input, body: Uint8Array) => void;

const LANE = priorityRank("high");

/** When the actor's earliest timer after `afterMs` is due, or undefined; by this node's clock, in ms since 1970. */
export function nextDueMs(activation: Activation, afterMs = Number.NEGATIVE_INFINITY): number | undefined {
  let next: number | undefined;
  for (const { dueAtMs } of activation.state.timers.values()) {
    const dueMs = dueAtMs - activation.aheadMs;
    if (dueMs > afterMs && (next === undefined || dueMs < next)) next = dueMs;
  }
  return next;
}

/** Sets the one host timer of an activation to its earliest timer after `afterMs`. Call after the timers changed. */
export function armTimers(clock: Clock, activation: Activation, inject: Inject, afterMs?: number): void {
  disarmTimers(clock, activation);
  const due = nextDueMs(activation, afterMs);
  if (due === undefined) return;
  const delay = Math.min(Math.max(0, due - clock.now()), MAX_TIMEOUT_MS);
  activation.timerHandle = clock.setTimeout(() => {
    activation.timerHandle = undefined;
    if (activation.phase !== "live") return;
    // One reading for both: a host timer may be early, and a timer that falls due between two readings would be in neither.
    const nowMs = clock.now();
    // What is fired waits in the mailbox and stays in the state until then: only later ones are armed.
    armTimers(clock, activation, inject, nowMs);
    fireDue(activation, inject, nowMs);
  }, delay);
}

export function disarmTimers(clock: Clock, activation: Activation): void {
  clock.clearTimeout(activation.timerHandle);
  activation.timerHandle = undefined;
}

function fireDue(activation: Activation, inject: Inject, nowMs: number): void {
  const due = [...activation.state.timers]
    .filter(([, timer]) => timer.dueAtMs - activation.aheadMs <= nowMs)
    .sort(([, a], [, b]) => a.dueAtMs - b.dueAtMs);
  for (const [id, timer] of due) {
    const input: Input = {
      tag: Tag.TimerFired,
      sender: id,
      seq: timer.generation,
      low: 0,
      ttlMs: 0,
      lane: LANE,
      event: timer.event,
    };
    inject(activation, input, encodeInput(input));
  }
}
