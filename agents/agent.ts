/**
 * The agent actor: follows its pools, turns events into tasks, and keeps what became of them. Invariant: an event starts
 * at most one task, at most `maxParallelTasks` run at once, and nothing that was taken is dropped without saying so.
 */
import { type AnyActorRef, assign, enqueueActions, setup } from "xstate";
import type { AgentMessage, AgentPlan } from "../actors/messages/agent.ts";
import { eventKey } from "../actors/messages/event.ts";
import { routerId } from "../actors/messages/router.ts";
import { type PoolEvent, publish, ref, reply } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { now, sender, uniqueId } from "../runtime/transition-scope.ts";
import { endTask, startNext, takeEvent } from "./agent-dispatch.ts";
import { type AgentContext, newAgent, type WaitingWork } from "./agent-state.ts";
import { eventProblem, planProblem } from "./message-check.ts";
import { taskTimeoutOf } from "./plan.ts";

/** Where agents publish what happens to themselves. */
export const AGENT_POOL = "shared.agents";

const router = (pool: string): AnyActorRef => ref("router", routerId(pool));
const timerOf = (task: string): string => `timeout-${task}`;
const poolsOf = (plan: AgentPlan | null): readonly string[] =>
  plan === null || plan.triggers.length === 0 ? [] : plan.pools;
const typesOf = (plan: AgentPlan): string[] => [...new Set(plan.triggers.map((trigger) => trigger.type))];

function refusalOf(context: AgentContext, event: AgentMessage): string | null {
  if (event.type === "deploy") return planProblem(context.id, event.plan);
  if (event.type === "event") return eventProblem(event.event);
  return event.type === "task.finished" && sender() !== `task/${event.task}` ? forgedEnd(event.task) : null;
}

/** An end that anybody could tell would free a place, and answer an alert that nobody looked at. */
const forgedEnd = (task: unknown): string =>
  `The end of task ${JSON.stringify(task) ?? "undefined"} is told by that task alone: abort the task instead`;

/** Says loudly that work was given up, once for all of it. */
const lossOf = (context: AgentContext, type: string, lost: readonly WaitingWork[]): PoolEvent => ({
  type,
  source: `agent/${context.id}`,
  priority: "high",
  data: {
    agent: context.id,
    dropped: lost.length,
    waiting: context.waiting.length,
    events: lost.slice(0, LOSS_SHOWN).map((work) => eventKey(work.event)),
  },
});
/** Lost events named in one announcement at most; the history holds all. */
const LOSS_SHOWN = 20;

const machine = setup({
  types: {} as { context: AgentContext; events: AgentMessage; input: { readonly id: string } },
  guards: {
    isRefused: ({ context, event }) => refusalOf(context, event) !== null,
    isBusy: ({ context }) => context.running.length > 0,
    isIdle: ({ context }) => context.running.length === 0,
  },
  actions: {
    /** Follows the new plan's pools before it leaves the former plan's others: no event falls between. */
    follow: enqueueActions(({ context, event, enqueue }) => {
      const plan = event.type === "deploy" ? event.plan : null;
      const pools = poolsOf(plan);
      if (plan !== null)
        for (const pool of pools)
          enqueue.sendTo(router(pool), { type: "subscribe", agent: context.id, types: typesOf(plan) });
      for (const pool of poolsOf(context.plan)) {
        if (!pools.includes(pool)) enqueue.sendTo(router(pool), { type: "unsubscribe", agent: context.id });
      }
    }),
    adopt: assign(({ event }) => (event.type === "deploy" ? { plan: event.plan } : {})),
    take: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== "event") return;
      const taken = takeEvent(context, event.event, now());
      enqueue.assign(taken.context);
      if (taken.dropped.length > 0)
        enqueue(publish(AGENT_POOL, () => lossOf(taken.context, "agent.overloaded", taken.dropped)));
    }),
    startWaiting: enqueueActions(({ context, enqueue }) => {
      const { plan } = context;
      if (plan === null) return;
      const next = startNext(context, now(), uniqueId);
      enqueue.assign(next.context);
      for (const { task, spec } of next.starts) {
        enqueue.sendTo(ref("task", task), { type: "start", task: spec });
        enqueue.sendTo(
          ref("task", task),
          { type: "abort", reason: "timeout" },
          { delay: taskTimeoutOf(plan), id: timerOf(task) },
        );
      }
    }),
    recordEnd: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== "task.finished") return;
      enqueue.cancel(timerOf(event.task));
      enqueue.assign(endTask(context, event, now()));
    }),
    giveUpWaiting: enqueueActions(({ context, enqueue }) => {
      if (context.waiting.length === 0) return;
      const lost = context.waiting;
      const counts = { ...context.counts, dropped: context.counts.dropped + lost.length };
      enqueue.assign({ waiting: [], counts });
      enqueue(publish(AGENT_POOL, () => lossOf({ ...context, waiting: [] }, "agent.retired", lost)));
    }),
    refuse: reply(({ context, event }) => ({ ok: false, code: "BAD_REQUEST", message: refusalOf(context, event) })),
    answerDeployed: reply(({ context }) => ({ ok: true, agent: context.id, version: context.plan?.version ?? null })),
    /** Without it an ask would be answered with the whole context. */
    answerTaken: reply(({ context }) => ({
      ok: true,
      running: context.running.length,
      waiting: context.waiting.length,
    })),
    answerRetired: reply(({ context }) => ({ ok: true, agent: context.id, running: context.running.length })),
  },
}).createMachine({
  id: "agent",
  context: ({ input }) => newAgent(input.id),
  initial: "draft",
  states: {
    draft: {
      on: {
        deploy: [
          { guard: "isRefused", actions: "refuse" },
          { target: "deployed", actions: ["follow", "adopt", "answerDeployed"] },
        ],
      },
    },
    deployed: {
      initial: "idle",
      on: {
        deploy: [
          { guard: "isRefused", actions: "refuse" },
          // Work under way goes on; what waits is started by the new plan.
          { actions: ["follow", "adopt", "startWaiting", "answerDeployed"] },
        ],
        event: [{ guard: "isRefused", actions: "refuse" }, { actions: ["take", "startWaiting", "answerTaken"] }],
        "task.finished": [
          { guard: "isRefused", actions: "refuse" },
          { actions: ["recordEnd", "startWaiting", "answerTaken"] },
        ],
        retire: { target: "retired", actions: ["follow", "giveUpWaiting", "answerRetired"] },
      },
      states: {
        idle: { always: { guard: "isBusy", target: "running" } },
        running: { always: { guard: "isIdle", target: "idle" } },
      },
    },
    retired: {
      on: {
        deploy: [
          { guard: "isRefused", actions: "refuse" },
          { target: "deployed", actions: ["follow", "adopt", "answerDeployed"] },
        ],
        "task.finished": [{ guard: "isRefused", actions: "refuse" }, { actions: ["recordEnd", "answerTaken"] }],
      },
    },
  },
});

/** Days that an agent's inputs can be replayed: long enough to backtest a new version on a month of events. */
const HISTORY_DAYS = 30;

export const agentKind = defineActor({ kind: "agent", machine, historyDays: HISTORY_DAYS, publishStatus: true });
