/**
 * When a crew grows and shrinks. Invariant: pure; never outside min to max, and between two decisions lies at least the time that the
 * plan asks for, so a load that swings faster moves nothing.
 */
import type { CrewPlan } from "./messages/crew.ts";

export interface Load {
  /** Since when without a break there was more work than the plan allows; null: there is not. */
  readonly overSinceMs: number | null;
  /** Since when without a break one worker less would have done; null: it would not. */
  readonly spareSinceMs: number | null;
}

export interface Seen {
  readonly nowMs: number;
  /** Waiting work that a hired worker could do. */
  readonly backlog: number;
  readonly hired: number;
  /** Work was turned away or passed on for want of a free worker, within the time that the plan waits before it grows. */
  readonly isTurningAway: boolean;
  /** Nothing waits, and all that runs would fit one worker less. */
  readonly isSpare: boolean;
}

export interface Scaling {
  readonly load: Load;
  /** Workers to hire; -1: one to let go. */
  readonly change: number;
  /** When to look again if nothing happens; null: no need. */
  readonly againAtMs: number | null;
}

type Limits = Pick<CrewPlan, "min" | "max" | "backlogPerWorker" | "growAfterMs" | "shrinkAfterMs">;

export function scale(before: Load, seen: Seen, plan: Limits): Scaling {
  const { nowMs, hired } = seen;
  const isOver = hired < plan.max && (seen.isTurningAway || seen.backlog > plan.backlogPerWorker * hired);
  const isSpare = hired > plan.min && !isOver && seen.isSpare;
  const overSinceMs = isOver ? (before.overSinceMs ?? nowMs) : null;
  const spareSinceMs = isSpare ? (before.spareSinceMs ?? nowMs) : null;
  if (overSinceMs !== null && nowMs - overSinceMs >= plan.growAfterMs)
    return {
      load: { overSinceMs: nowMs, spareSinceMs: null },
      change: growth(seen, plan),
      againAtMs: nowMs + plan.growAfterMs,
    };
  if (spareSinceMs !== null && nowMs - spareSinceMs >= plan.shrinkAfterMs)
    return {
      load: { overSinceMs: null, spareSinceMs: nowMs },
      change: -1,
      againAtMs: nowMs + plan.shrinkAfterMs,
    };
  return {
    load: { overSinceMs, spareSinceMs },
    change: 0,
    againAtMs:
      overSinceMs !== null
        ? overSinceMs + plan.growAfterMs
        : spareSinceMs !== null
          ? spareSinceMs + plan.shrinkAfterMs
          : null,
  };
}

/** As many as the backlog asks for, at most as many again as there are: what is hired now is seen before more are. */
function growth({ backlog, hired }: Seen, { max, backlogPerWorker }: Limits): number {
  const wanted = Math.ceil(backlog / Math.max(1, backlogPerWorker)) - hired;
  return Math.min(max - hired, Math.max(1, Math.min(wanted, hired)));
}
