/**
 * A crew: takes work, keeps it in line, and has its workers do it. Invariant: every accepted piece of work ends exactly once for
 * each who asked: done, failed, expired, refused or unknown; who is refused at once was never accepted.
 */
import { type AnyActorRef, enqueueActions, setup } from "xstate";
import { addressOf, keyOf } from "../runtime/address.ts";
import { publish, ref, reply } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { askAgain, dismissHired, enlist, leave, lose, resize, reviewHired } from "./crew-members.ts";
import { planFrom } from "./crew-plan.ts";
import { type CrewContext, newCrew, TICK_MS, Turn } from "./crew-state.ts";
import { dispatch, giveUpWaiting, passTime, submit, workEnded } from "./crew-work.ts";
import { CREW_KIND, type CrewMessage, type CrewPlan, type CrewReply, WORK_POOL } from "./messages/crew.ts";
import { isActor } from "./resource-claim.ts";

type Answer = CrewReply | { readonly ok: boolean; readonly [key: string]: unknown };

/** The sending actor; null: a client, which has no address to be told at. */
const asker = (): string | null => (isActor(sender()) ? sender() : null);

const TICK = "tick";
const OK: Answer = { ok: true };
const SERVE = { actions: { type: "handle", params: { mode: "serve" } } } as const;
const WIND_DOWN = { actions: { type: "handle", params: { mode: "windDown" } } } as const;
const DECLARE = [
  { guard: "isRefused", actions: "refusePlan" },
  { target: "serving", actions: { type: "handle", params: { mode: "serve" } } },
] as const;

function refOf(key: string): AnyActorRef {
  const { kind, id } = addressOf(key);
  return ref(kind, id);
}

/** Takes one message into the turn; returns the answer to an ask. */
function take(turn: Turn, event: CrewMessage, plan: CrewPlan): Answer {
  const from = asker();
  switch (event.type) {
    case "submit":
      return toldIfRefused(turn, submit(turn, event.work, from, plan), event.work);
    case "enlist":
      return answerOf(from === null ? "Only an actor can enlist: workers are addressed" : enlist(turn, from, event));
    case "leave":
      if (from !== null) leave(turn, from);
      return answerOf(null);
    case "work.ended":
      if (from !== null) workEnded(turn, from, event, plan);
      return answerOf(null);
    case "actor.failed":
      if (from === keyOf(event.kind, event.id)) lose(turn, from, `It was stopped: ${event.reason}`);
      return answerOf(null);
    default:
      passTime(turn);
      askAgain(turn);
      return answerOf(null);
  }
}

const answerOf = (problem: string | null): Answer =>
  problem === null ? OK : { ok: false, code: "BAD_REQUEST", message: problem };

/** An actor that asks hears no replies: a refusal is told to it as an end. */
function toldIfRefused(turn: Turn, answer: CrewReply, given: unknown): CrewReply {
  const from = asker();
  const work: unknown = (given as { readonly id?: unknown } | null | undefined)?.id;
  if (answer.ok || from === null || typeof work !== "string") return answer;
  const reason = `${answer.code}: ${answer.message}`;
  turn.send(from, { type: "work.ended", work, state: "refused", result: null, reason });
  return answer;
}

/** Under a new plan the same work waits, and who is there stays as far as the plan has room. */
function adopt(turn: Turn, plan: CrewPlan): void {
  const before = turn.context.plan;
  turn.set({ plan });
  reviewHired(turn, before?.worker === plan.worker);
}

const isTurnedAway = (answer: Answer): boolean =>
  ("state" in answer && answer["state"] === "delegated") || ("code" in answer && answer["code"] === "NO_FREE_WORKER");

/** With a plan: work is given out, and the crew is as large as its load asks for. */
function serve(turn: Turn, event: CrewMessage, plan: CrewPlan): Answer {
  if (event.type === "declare") adopt(turn, plan);
  const answer = event.type === "declare" ? OK : take(turn, event, plan);
  dispatch(turn, plan);
  if (isTurnedAway(answer)) turn.set({ turnedAwayAtMs: turn.nowMs });
  resize(turn);
  dispatch(turn, plan); // who was on the way out may have been kept
  return answer;
}

/** Without one that is followed: what runs is finished, nothing begins. */
function windDown(turn: Turn, event: CrewMessage): Answer {
  const { id, plan } = turn.context;
  if (event.type === "submit") {
    const message = `Crew "${id}" follows no plan: declare one first`;
    return toldIfRefused(turn, { ok: false, code: "NO_CREW", message }, event.work);
  }
  const answer = plan === null || event.type === "retire" ? OK : take(turn, event, plan);
  dismissHired(turn);
  giveUpWaiting(turn);
  return answer;
}

const planProblem = (context: CrewContext, event: CrewMessage): string | null => {
  const plan = event.type === "declare" ? planFrom(context.id, event.plan) : null;
  return typeof plan === "string" ? plan : null;
};

const machine = setup({
  types: {} as { context: CrewContext; events: CrewMessage; input: { readonly id: string } },
  guards: {
    isRefused: ({ context, event }) => planProblem(context, event) !== null,
  },
  actions: {
    handle: enqueueActions(({ context, event, enqueue }, { mode }: { readonly mode: "serve" | "windDown" }) => {
      const turn = new Turn(context, now());
      if (event.type === TICK) turn.wakeAtMs = null; // whoever needs it asks for the next
      const plan = event.type === "declare" ? planFrom(context.id, event.plan) : context.plan;
      const answer =
        mode === "serve" && plan !== null && typeof plan !== "string"
          ? serve(turn, event, plan)
          : windDown(turn, event);
      const { wakeAtMs, nowMs } = turn;
      if (wakeAtMs !== null && (wakeAtMs !== context.tickAtMs || event.type === TICK))
        enqueue.raise({ type: TICK }, { id: TICK, delay: Math.max(TICK_MS, wakeAtMs - nowMs) });
      enqueue.assign({ ...turn.context, tickAtMs: wakeAtMs });
      for (const { to, event: message } of turn.sends) enqueue.sendTo(refOf(to), message);
      for (const data of turn.news)
        enqueue(
          publish(WORK_POOL, () => ({
            type: data.type,
            priority: "low",
            orderKey: data.work,
            data: { ...data, crew: context.id },
          })),
        );
      enqueue(reply(() => answer));
    }),
    refusePlan: reply(({ context, event }) => answerOf(planProblem(context, event))),
  },
}).createMachine({
  id: "crew",
  context: ({ input }) => newCrew(input.id),
  initial: "undeclared",
  states: {
    undeclared: { on: { declare: DECLARE, submit: WIND_DOWN } },
    serving: {
      on: {
        declare: DECLARE,
        retire: { target: "retired", ...WIND_DOWN },
        submit: SERVE,
        enlist: SERVE,
        leave: SERVE,
        "work.ended": SERVE,
        "actor.failed": SERVE,
        tick: SERVE,
      },
    },
    retired: {
      on: {
        declare: DECLARE,
        submit: WIND_DOWN,
        leave: WIND_DOWN,
        "work.ended": WIND_DOWN,
        "actor.failed": WIND_DOWN,
        tick: WIND_DOWN,
      },
    },
  },
});

/** Days that a crew's inputs can be replayed. */
const HISTORY_DAYS = 7;

export const crewKind = defineActor({ kind: CREW_KIND, machine, historyDays: HISTORY_DAYS });
