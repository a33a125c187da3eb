/**
 * Who gets the next piece of work. Invariant: pure; a worker that lacks what the work needs is never chosen, whatever the balance,
 * nor one whose hands are full.
 */
import type { CrewContext, Job, Member } from "./crew-state.ts";
import type { Balance, Capability, Need } from "./messages/crew.ts";
import { fitsRange } from "./version.ts";

/** True if each need is met, in a version within its range. */
export const canDo = (capabilities: readonly Capability[], needs: readonly Need[]): boolean =>
  needs.every((need) =>
    capabilities.some(({ name, version }) => name === need.name && fitsRange(version, need.version ?? "*")),
  );

export const isFree = ({ sinceMs, isLeaving, running, slots }: Member): boolean =>
  sinceMs !== null && !isLeaving && running < slots;

/** False if no worker here will ever be able to do it. Unknown is true: a worker that comes may. */
export function isFit({ plan, members, hiredCan }: CrewContext, { needs }: Pick<Job, "needs">): boolean {
  if (plan !== null && plan.worker !== null && plan.max > 0 && (hiredCan === null || canDo(hiredCan, needs)))
    return true;
  return members.some(
    ({ sinceMs, isLeaving, capabilities }) => sinceMs !== null && !isLeaving && canDo(capabilities, needs),
  );
}

/** The free worker for work with `needs`; null: none. `draw` is asked for a number in [0, 1) by RANDOM alone. */
export function choose(
  balance: Balance,
  members: readonly Member[],
  needs: readonly Need[],
  draw: () => number,
): Member | null {
  const able = members.filter((member) => isFree(member) && canDo(member.capabilities, needs));
  if (able.length < 2) return able[0] ?? null;
  if (balance === "RANDOM") return able[Math.floor(draw() * able.length)] ?? null;
  const order = ORDERS[balance];
  return able.reduce((best, member) => (order(member, best) < 0 ? member : best));
}

/** Who has waited longest for work goes first. Turns are never equal but for those who have had none. */
const byTurn = (a: Member, b: Member): number => a.lastTurn - b.lastTurn;
const byLoad = (a: Member, b: Member): number => a.running / a.slots - b.running / b.slots || byTurn(a, b);

const ORDERS: Readonly<Record<Exclude<Balance, "RANDOM">, (a: Member, b: Member) => number>> = {
  ROUND_ROBIN: byTurn,
  LEAST_BUSY: byLoad,
  // Who can do least besides: those who can do more stay free for what only they can.
  CAPABILITY_AWARE: (a, b) => a.capabilities.length - b.capabilities.length || byLoad(a, b),
};
