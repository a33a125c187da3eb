/**
 * Finds deadlocks: hears from contended locks who holds and who waits. Invariant: a waiter is refused only for a cycle that lasted
 * for {@link CONFIRM_CYCLE_MS}, so a report that is late makes nobody a victim of a cycle that never was.
 */
import { assign, enqueueActions, setup } from "xstate";
import { publish, ref } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { sender } from "../runtime/transition-scope.ts";
import { RESOURCE_POOL } from "./messages/resource.ts";
import { type LockChanged, WAIT_GRAPH } from "./messages/wait-graph.ts";
import { type Deadlock, findDeadlock, type Locks } from "./wait-cycle.ts";

/** How long a cycle must last, in ms: reports of locks on several nodes arrive within some; a real deadlock lasts. */
export const CONFIRM_CYCLE_MS = 200;
/** Waiters kept at most: with the longest names they fit one state. Later ones are left out, which `isCut` tells. */
export const WAITERS_LIMIT = 2_000;

export interface WaitGraphContext {
  readonly locks: Locks;
  readonly isCut: boolean;
  /** Found, and not yet confirmed. */
  readonly suspect: Deadlock | null;
  readonly broken: number;
}

const waitersOf = (locks: Locks): number => Object.values(locks).reduce((sum, { waiting }) => sum + waiting.length, 0);

function heard(
  { locks }: WaitGraphContext,
  { resource, holders, joined, left }: LockChanged,
): Partial<WaitGraphContext> {
  const { [resource]: before, ...others } = locks;
  const gone = new Set(left);
  const stayed = (before?.waiting ?? []).filter(({ holder }) => !gone.has(holder));
  const room = Math.max(0, WAITERS_LIMIT - waitersOf(others) - stayed.length);
  const waiting = [...stayed, ...joined.slice(0, room)];
  const next = waiting.length === 0 ? others : { ...others, [resource]: { holders, waiting } };
  return { locks: next, isCut: joined.length > room };
}

const isSame = (a: Deadlock | null, b: Deadlock | null): boolean => JSON.stringify(a) === JSON.stringify(b);

const machine = setup({
  types: {} as { context: WaitGraphContext; events: LockChanged },
  delays: { confirm: CONFIRM_CYCLE_MS },
  guards: {
    isFromLock: ({ event }) => sender() === `resource/${event.resource}`,
    isNews: ({ context }) => !isSame(findDeadlock(context.locks), context.suspect),
    isSuspect: ({ context }) => context.suspect !== null,
  },
  actions: {
    hear: assign(({ context, event }) => heard(context, event)),
    suspect: assign(({ context }) => ({ suspect: findDeadlock(context.locks) })),
    breakCycle: enqueueActions(({ context, enqueue }) => {
      if (context.suspect === null) return;
      const { victim, cycle } = context.suspect;
      const { resource, holder, sinceMs } = victim;
      const reason = `deadlock: ${cycle.join(", ")}; ask again, and take several locks in one reservation`;
      enqueue.sendTo(ref("resource", resource), { type: "refuseWaiter", waiter: holder, sinceMs, reason });
      enqueue.assign({ suspect: null, broken: context.broken + 1 });
      enqueue(
        publish(RESOURCE_POOL, () => ({
          type: "resource.deadlock",
          priority: "high",
          data: { cycle, victim: holder, resource },
        })),
      );
    }),
  },
}).createMachine({
  id: "wait-graph",
  context: { locks: {}, isCut: false, suspect: null, broken: 0 },
  initial: "watching",
  states: {
    watching: {
      on: { lockChanged: { guard: "isFromLock", target: "looking", actions: "hear" } },
    },
    /** Entered anew when another cycle is found, so that each has its time. */
    looking: {
      entry: "suspect",
      always: [{ guard: "isSuspect", target: "suspecting" }, { target: "watching" }],
    },
    suspecting: {
      on: { lockChanged: { guard: "isFromLock", actions: "hear" } },
      always: { guard: "isNews", target: "looking" },
      // Looked at again at once: the lock's answer opens the cycle, or the next one is found.
      after: { confirm: { target: "looking", actions: "breakCycle" } },
    },
  },
});

export const waitGraphKind = defineActor({ kind: WAIT_GRAPH.kind, machine });
