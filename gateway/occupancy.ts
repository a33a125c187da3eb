/**
 * Who had a resource, for how long, and why that ended, from what its lock keeps. Invariant: what was not measured is null, and a
 * grant that lasts counts until now.
 */
import type { ActorView } from "../runtime/api.ts";
import { list, number, part, text } from "./fields.ts";

export interface Occupied {
  readonly token: number | null;
  readonly holder: string | null;
  readonly waitedMs: number | null;
  readonly grantedAtMs: number | null;
  /** Null: it lasts. */
  readonly endedAtMs: number | null;
  readonly heldMs: number | null;
  readonly reason: string | null;
  readonly by: string | null;
  readonly why: string | null;
}

export interface Occupancy {
  readonly resource: string;
  /** Grants kept: the last ones, so all figures are of these. */
  readonly grants: number;
  readonly sinceMs: number | null;
  /** Part of the time since then in which somebody held it, 0 to 1 for each place. */
  readonly busy: number | null;
  readonly waitingNow: number;
  readonly waitedMs: number;
  readonly longestWaitMs: number | null;
  readonly longestHoldMs: number | null;
}

export function timelineOf({ context }: ActorView, nowMs: number): Occupied[] {
  return list(part(context)["history"]).map((entry) => {
    const grant = part(entry);
    const [grantedAtMs, endedAtMs] = [number(grant["grantedAtMs"]), number(grant["endedAtMs"])];
    return {
      token: number(grant["token"]),
      holder: text(grant["holder"]),
      waitedMs: number(grant["waitedMs"]),
      grantedAtMs,
      endedAtMs,
      heldMs: grantedAtMs === null ? null : Math.max(0, (endedAtMs ?? nowMs) - grantedAtMs),
      reason: text(grant["reason"]),
      by: text(grant["by"]),
      why: text(grant["why"]),
    };
  });
}

export function occupancyOf(view: ActorView, nowMs: number): Occupancy {
  const timeline = timelineOf(view, nowMs);
  const own = part(view.context);
  const queue = list(own["queue"]).map((waiter) => nowMs - (number(part(waiter)["sinceMs"]) ?? nowMs));
  const waits = [...timeline.flatMap(({ waitedMs }) => (waitedMs === null ? [] : [waitedMs])), ...queue];
  const holds = timeline.flatMap(({ heldMs }) => (heldMs === null ? [] : [heldMs]));
  const sinceMs = timeline[0]?.grantedAtMs ?? null;
  const spanMs = (nowMs - (sinceMs ?? nowMs)) * (number(own["capacity"]) ?? 1);
  return {
    resource: view.id,
    grants: timeline.length,
    sinceMs,
    busy: spanMs > 0 ? Math.min(1, sum(holds) / spanMs) : null,
    waitingNow: queue.length,
    waitedMs: sum(waits),
    longestWaitMs: waits.length === 0 ? null : Math.max(...waits),
    longestHoldMs: holds.length === 0 ? null : Math.max(...holds),
  };
}

/** The most contended first: where most time was spent waiting. */
export const byContention = (a: Occupancy, b: Occupancy): number =>
  b.waitedMs - a.waitedMs || (b.busy ?? 0) - (a.busy ?? 0) || (a.resource < b.resource ? -1 : 1);

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
