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

/** Earliest due time of the actor's timers, in ms since 1970, or undefined. */
export function nextDueMs(activation: Activation): number | undefined {
  let next: number | undefined;
  for (const timer of activation.state.timers.values()) {
    if (next === undefined || timer.dueAtMs < next) next = timer.dueAtMs;
  }
  return next;
}

/** Sets the one host timer of an activation to its earliest timer. Call after the timers changed. */
export function armTimers(clock: Clock, activation: Activation, inject: Inject): void {
  disarmTimers(clock, activation);
  const due = nextDueMs(activation);
  if (due === undefined) return;
  const delay = Math.min(Math.max(0, due - clock.now()), MAX_TIMEOUT_MS);
  activation.timerHandle = clock.setTimeout(() => {
    activation.timerHandle = undefined;
    if (activation.phase !== "live") return;
    fireDue(clock, activation, inject);
    armTimersAfter(clock, activation, inject);
  }, delay);
}

export function disarmTimers(clock: Clock, activation: Activation): void {
  clock.clearTimeout(activation.timerHandle);
  activation.timerHandle = undefined;
}

function fireDue(clock: Clock, activation: Activation, inject: Inject): void {
  const now = clock.now();
  const due = [...activation.state.timers]
    .filter(([, timer]) => timer.dueAtMs <= now)
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

/** What was fired but waits in the mailbox is still in the state: only later ones are armed again. */
function armTimersAfter(clock: Clock, activation: Activation, inject: Inject): void {
  const now = clock.now();
  const later = [...activation.state.timers.values()].some((timer) => timer.dueAtMs > now);
  if (later && activation.timerHandle === undefined) {
    const due = Math.min(
      ...[...activation.state.timers.values()].filter((timer) => timer.dueAtMs > now).map((timer) => timer.dueAtMs),
    );
    activation.timerHandle = clock.setTimeout(
      () => armTimers(clock, activation, inject),
      Math.min(due - now, MAX_TIMEOUT_MS),
    );
  }
}
