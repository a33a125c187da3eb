/**
 * A lock with a line of waiters, and the lease that shows it to hosts. Invariant: at any time no more hold than the capacity
 * allows, tokens only grow and are never issued twice, and every waiter ends with a grant or with a reason.
 */
import { assign, enqueueActions, fromPromise, setup } from "xstate";
import { addressOf } from "../runtime/address.ts";
import { publish, ref, reply } from "../runtime/author.ts";
import { type ActorKind, defineActor } from "../runtime/define-actor.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { leaseOf } from "./lease.ts";
import type { LeaseWrite, WriteLease } from "./lease-store.ts";
import { placeOf } from "./messages/event.ts";
import { RESOURCE_POOL, type ResourceMessage } from "./messages/resource.ts";
import { type LockChanged, WAIT_GRAPH } from "./messages/wait-graph.ts";
import { isActor, requesterOf } from "./resource-claim.ts";
import type { LockFact } from "./resource-grants.ts";
import { type Decision, decide } from "./resource-rules.ts";
import { migrateLock } from "./resource-migration.ts";
import { dueAtMs, type LockState, newLock, type ResourceContext, stateOf } from "./resource-state.ts";

interface Context extends ResourceContext {
  /** Sequence of the lease's entry as last known; null: unknown. */
  readonly leaseSeq: number | null;
}

/** Commands, the lock's own timer, and the ends of its writes of the lease. */
function decisionOf({ context, event }: { readonly context: Context; readonly event: ResourceMessage }): Decision {
  const command = event.type.startsWith("xstate.") ? ({ type: "timePassed" } as const) : event;
  return decide(context, command, requesterOf(sender(), event), now());
}

/** What is said of the lock in its pool. */
function news({ resource, queue }: ResourceContext, { about }: LockFact) {
  const place = placeOf(resource);
  return {
    resource,
    ...about,
    waiting: queue.length,
    ...(place !== null && { host_name: place.host, device_id: place.device }),
  };
}

const namesOf = (list: readonly { readonly holder: string }[]): readonly string[] => list.map(({ holder }) => holder);

/** What the wait-for graph is told: nothing while nobody waits, so that a free lock costs no message. */
function reportOf(before: ResourceContext, { resource, holders, queue }: ResourceContext): LockChanged | null {
  if (before.queue.length === 0 && queue.length === 0) return null;
  const [was, is] = [new Set(namesOf(before.queue)), new Set(namesOf(queue))];
  const joined = queue.filter(({ holder }) => !was.has(holder));
  const left = [...was].filter((holder) => !is.has(holder));
  const names = namesOf(holders);
  const isSame = names.join() === namesOf(before.holders).join(); // a renewal changes nobody
  if (isSame && joined.length + left.length === 0) return null;
  const waiting = joined.map(({ holder, priority, sinceMs }) => ({ holder, priority, sinceMs }));
  return { type: "lockChanged", resource, holders: names, joined: waiting, left };
}

const base = setup({
  types: {} as { context: Context; events: ResourceMessage; input: { readonly id: string } },
  actors: {
    writeLease: fromPromise<number | null, LeaseWrite>(() =>
      Promise.reject(new Error("Provide writeLease: make the kind with resourceActor({ writeLease })")),
    ),
  },
  // Named as in version 1, whose timers may still be stored.
  delays: { ttl: ({ context }) => Math.max(0, (dueAtMs(context) ?? 0) - now()) },
  guards: {
    isRefused: (args) => decisionOf(args).problem !== null,
    /** Nothing that the state shows changes: no need to write the lease and to time what is due anew. */
    isQuiet: (args) => {
      const { lock } = decisionOf(args);
      const { context } = args;
      return (
        lock.leaseVersion === context.leaseVersion &&
        dueAtMs(lock) === dueAtMs(context) &&
        stateOf(lock) === stateOf(context)
      );
    },
    is: ({ context }, state: LockState) => stateOf(context) === state,
  },
  actions: {
    refuse: enqueueActions(({ context, event, enqueue }) => {
      const { problem } = decisionOf({ context, event });
      if (problem === null) return;
      enqueue(reply(() => ({ ok: false, ...problem })));
      const who = requesterOf(sender(), event);
      // Only those who wait for an answer by message get one: a stale release changes nothing and needs none.
      if (who === null || !isActor(who) || (event.type !== "acquire" && event.type !== "cancel")) return;
      const { kind, id } = addressOf(who);
      enqueue.sendTo(ref(kind, id), { type: "resource.refused", resource: context.resource, reason: problem.message });
    }),
    /** Keeps what was decided, answers, and says each fact: to the one concerned, then to all. */
    obey: enqueueActions(({ context, event, enqueue }) => {
      const { lock, facts, reply: answer } = decisionOf({ context, event });
      enqueue.assign(lock);
      const report = reportOf(context, lock);
      if (report !== null) enqueue.sendTo(ref(WAIT_GRAPH.kind, WAIT_GRAPH.id), report);
      if (answer !== null) enqueue(reply(() => answer));
      for (const fact of facts) {
        const { type, priority, tell } = fact;
        if (tell !== null && isActor(tell.to)) {
          const { kind, id } = addressOf(tell.to);
          enqueue.sendTo(ref(kind, id), tell.fact);
        }
        if (type !== null) enqueue(publish(RESOURCE_POOL, () => ({ type, priority, data: news(lock, fact) })));
      }
    }),
    rememberSeq: assign(({ event }) => ({ leaseSeq: (event as { readonly output?: number | null }).output ?? null })),
  },
});

const obeyed = [
  { guard: "isRefused", actions: "refuse" },
  { guard: "isQuiet", actions: "obey" },
  { target: ".settling", actions: "obey" },
] as const;

/** Entered anew at each change, so that the lease is written and what is due is timed anew. */
const shown = {
  invoke: {
    id: "lease",
    src: "writeLease",
    input: ({ context }: { context: Context }) => ({ lease: leaseOf(context), seq: context.leaseSeq }),
    onDone: { actions: "rememberSeq" },
    // Its time was up: it is written as long as it must.
    onError: { target: "#resource.settling" },
  },
} as const;
const timed = { ...shown, after: { ttl: { target: "settling", actions: "obey" } } } as const;

const machine = base.createMachine({
  id: "resource",
  context: ({ input }) => ({ ...newLock(input.id), leaseSeq: null }),
  initial: "free",
  on: {
    acquire: obeyed,
    release: obeyed,
    renew: obeyed,
    cancel: obeyed,
    yield: obeyed,
    stopped: obeyed,
    askRelease: obeyed,
    answerRelease: obeyed,
    bump: obeyed,
    takeover: obeyed,
    maintain: obeyed,
    configure: obeyed,
    refuseWaiter: obeyed,
    hostLost: obeyed,
    hostBack: obeyed,
  },
  states: {
    settling: {
      always: [
        { guard: { type: "is", params: "stopping" }, target: "stopping" },
        { guard: { type: "is", params: "held" }, target: "held" },
        { guard: { type: "is", params: "closed" }, target: "closed" },
        { target: "free" },
      ],
    },
    free: shown,
    held: timed,
    /** A holder was taken over and has not confirmed that it stopped. */
    stopping: timed,
    /** In maintenance, or its host is lost: nobody is granted. */
    closed: shown,
  },
});

/** The kind of actor that a lock is; `writeLease` is how hosts come to know who holds it. */
export function resourceActor({ writeLease }: { readonly writeLease: WriteLease }): ActorKind {
  const provided = machine.provide({
    actors: { writeLease: fromPromise(({ input, signal }) => writeLease(input, signal)) },
  });
  return defineActor({ kind: "resource", machine: provided, version: 2, migrate: migrateLock, publishStatus: true });
}
