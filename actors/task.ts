/**
 * One piece of an agent's work: takes the device's lock, runs the steps one by one, gives the lock back, reports.
 * Invariant: no step runs without the lock that the task needs, and no task succeeds without evidence.
 */
import { assign, cancel, enqueueActions, fromPromise, raise, setup } from "xstate";
import { publish, ref, reply } from "../runtime/author.ts";
import { type ActorKind, defineActor } from "../runtime/define-actor.ts";
import { now } from "../runtime/transition-scope.ts";
import {
  RESULT_POOL,
  type RunSkill,
  type SkillCall,
  type SkillResult,
  type StopCall,
  type StopSkill,
  type TaskMessage,
  type TaskOutcome,
} from "./messages/task.ts";
import { lockOf, specProblem, STEP_TIMEOUT_MAX_MS } from "./task-spec.ts";
import * as state from "./task-state.ts";
import { STOP_WAIT_MS, stopStates, whileLocked } from "./task-stop.ts";

/** A lock is renewed at this part of its time to live: two renewals may come late before it is lost. */
const RENEW_PART = 3;
/** Pause before the second try of a step, in ms; doubles with each further one, so that a device can come back. */
export const RETRY_PAUSE_MS = 1_000;
export const RETRY_PAUSE_MAX_MS = 30_000;
/** The lock answers a release at once; a task that hears nothing for this long ends anyway, in ms: the lock expires by itself. */
export const RELEASE_WAIT_MS = 30_000;
/** The step's own timer ends a try first; this only catches a lost one, in ms. */
const INVOCATION_DEADLINE_MS = STEP_TIMEOUT_MAX_MS + 60_000;

const RENEW_TIMER = "lock-renewal";

/** Answers one who asks for the lock by a time. */
function answerRelease(accept: boolean) {
  return enqueueActions<state.TaskContext, TaskMessage, undefined, TaskMessage, never, never, never, never, never>(
    ({ context: { lock }, enqueue }) => {
      if (lock !== null)
        enqueue.sendTo(ref("resource", lock.resource), { type: "answerRelease", token: lock.token, accept });
    },
  );
}

const base = setup({
  types: {} as { context: state.TaskContext; events: TaskMessage; input: { readonly id: string } },
  actors: {
    runSkill: fromPromise<SkillResult, SkillCall>(() =>
      Promise.reject(new Error("Provide runSkill: make the kind with taskActor({ runSkill, stopSkill })")),
    ),
    stopSkill: fromPromise<boolean, StopCall>(() =>
      Promise.reject(new Error("Provide stopSkill: make the kind with taskActor({ runSkill, stopSkill })")),
    ),
  },
  delays: {
    stepTimeout: ({ context }) => state.currentStep(context).timeoutMs,
    retryPause: ({ context }) =>
      Math.min(RETRY_PAUSE_MAX_MS, RETRY_PAUSE_MS * 2 ** (state.currentStep(context).tries - 1)),
    releaseWait: RELEASE_WAIT_MS,
    stopWait: STOP_WAIT_MS,
  },
  guards: {
    isUnsound: ({ event }) => event.type === "start" && specProblem(event.task) !== null,
    isUnsoundFromAgent: ({ event }) => event.type === "start" && state.refusedTask(event.task) !== null,
    needsLock: ({ event }) => event.type === "start" && lockOf(event.task) !== null,
    isOfLock: ({ context, event }) => state.isOfLock(context, event),
    isOfOwnLock: ({ context, event }) => state.isOfOwnLock(context, event),
    isTakenAway: ({ context, event }) =>
      state.isOfOwnLock(context, event) && event.type === "resource.revoked" && event.reason !== "expired",
    isPauseDue: ({ context }) => state.isPauseDue(context),
    canPause: ({ context, event }) =>
      event.type === "resource.releaseAsked" &&
      state.isOfOwnLock(context, event) &&
      state.canPauseBy(context, event.byMs),
    isPrepared: ({ context }) => context.call !== null,
    hasStopped: ({ event }) => fieldOf(event, "output") === true,
    isInterrupted: ({ event }) => state.isInterrupted(fieldOf(event, "error")),
    mayRetry: ({ context }) => state.mayRetry(context),
    hasStepDue: ({ context }) => state.hasStepDue(context),
    holdsLock: ({ context }) => context.lock !== null,
    awaitsNoLock: ({ context }) => context.spec === null || lockOf(context.spec) === null,
    endsAs: ({ context }, params: { readonly outcome: TaskOutcome }) => context.outcome === params.outcome,
  },
  actions: {
    begin: assign(({ event }) => (event.type === "start" ? state.started(event.task) : {})),
    refuseStart: reply(({ event }) => ({
      ok: false,
      code: "BAD_TASK",
      message: event.type === "start" ? specProblem(event.task) : null,
    })),
    rememberRefusal: assign(({ event }) => (event.type === "start" ? (state.refusedTask(event.task) ?? {}) : {})),
    rememberAbort: assign(({ context, event }) =>
      event.type === "abort" ? state.afterAbort(context, event.reason) : {},
    ),
    askForLock: enqueueActions(({ context: { spec }, enqueue }) => {
      const lock = spec && lockOf(spec);
      if (spec === null || lock === null) return;
      enqueue.sendTo(ref("resource", lock), {
        type: "acquire",
        priority: spec.priority,
        ttlMs: spec.lockTtlMs,
      });
    }),
    rememberLock: assign(({ event }) =>
      event.type === "resource.granted"
        ? { lock: { resource: event.resource, token: event.token }, place: null, pauseFor: null }
        : {},
    ),
    rememberPause: assign(({ event }) =>
      event.type === "resource.pause" || event.type === "resource.releaseAsked" ? { pauseFor: event.by } : {},
    ),
    rememberAbortedLock: assign(({ context, event }) =>
      event.type === "resource.abort" ? state.afterAbort(context, `preempted by "${event.by}"`) : {},
    ),
    rememberPlace: assign(({ event }) =>
      event.type === "resource.queued" ? { place: { position: event.position, holder: event.holder } } : {},
    ),
    rememberRefusedLock: assign(({ context, event }) =>
      event.type === "resource.refused" ? state.afterRefusedLock(context, event.reason) : {},
    ),
    planRenewal: raise(
      { type: "lock.renew" },
      { id: RENEW_TIMER, delay: ({ context }) => Math.floor((context.spec?.lockTtlMs ?? 0) / RENEW_PART) },
    ),
    stopRenewal: cancel(RENEW_TIMER),
    renewLock: enqueueActions(({ context: { lock }, enqueue }) => {
      if (lock !== null) enqueue.sendTo(ref("resource", lock.resource), { type: "renew", token: lock.token });
    }),
    giveLockBack: enqueueActions(({ context: { lock }, enqueue }) => {
      if (lock !== null) enqueue.sendTo(ref("resource", lock.resource), { type: "release", token: lock.token });
    }),
    yieldLock: enqueueActions(({ context: { lock }, enqueue }) => {
      if (lock !== null) enqueue.sendTo(ref("resource", lock.resource), { type: "yield", token: lock.token });
    }),
    acceptRelease: answerRelease(true),
    declineRelease: answerRelease(false),
    /** Who took the lock by force waits for this. */
    confirmStop: enqueueActions(({ context: { lock }, enqueue }) => {
      if (lock !== null) enqueue.sendTo(ref("resource", lock.resource), { type: "stopped", token: lock.token });
    }),
    leaveLine: enqueueActions(({ context: { spec }, enqueue }) => {
      const lock = spec && lockOf(spec);
      if (lock !== null) enqueue.sendTo(ref("resource", lock), { type: "cancel" });
    }),
    prepareStep: assign(({ context }) => state.prepared(context)),
    rememberResult: assign(({ context, event }) => state.afterResult(context, fieldOf(event, "output"))),
    rememberError: assign(({ context, event }) => state.afterError(context, fieldOf(event, "error"))),
    rememberTimeout: assign(({ context }) => state.afterTimeout(context)),
    rememberLockLost: assign(({ context, event }) => state.afterLockLost(context, event)),
    rememberLateLoss: assign(({ context, event }) =>
      event.type === "resource.revoked" ? state.afterLateLoss(context, event.expiredAtMs) : {},
    ),
    judge: assign(({ context }) => state.judged(context)),
    close: assign(() => ({ lock: null, call: null, place: null, endedAtMs: now() })),
    tellAgent: enqueueActions(({ context, enqueue }) => {
      if (context.reportTo !== null) enqueue.sendTo(ref("agent", context.reportTo), state.finishedFact(context));
    }),
    publishEnd: publish(RESULT_POOL, ({ context }) => ({
      type: "task.finished",
      priority: context.outcome === "failed" || context.outcome === "unknown" ? "high" : "normal",
      data: state.finishedNews(context),
    })),
  },
});

/** Completions carry what the machine's own events do not declare. */
const fieldOf = (event: object, field: "output" | "error"): unknown =>
  (event as { readonly [key: string]: unknown })[field];

const ended = { type: "final", entry: ["tellAgent", "publishEnd"] } as const;

const machine = base.createMachine({
  id: "task",
  context: ({ input }) => state.newTask(input.id),
  initial: "waiting",
  states: {
    waiting: {
      on: {
        start: [
          { guard: "isUnsoundFromAgent", target: "finishing", actions: ["refuseStart", "rememberRefusal"] },
          { guard: "isUnsound", actions: "refuseStart" },
          { guard: "needsLock", target: "acquiring", actions: "begin" },
          { target: "preparing", actions: "begin" },
        ],
        abort: { target: "finishing", actions: "rememberAbort" },
      },
    },
    acquiring: {
      entry: "askForLock",
      on: {
        "resource.granted": { guard: "isOfLock", target: "preparing", actions: ["rememberLock", "planRenewal"] },
        "resource.queued": { guard: "isOfLock", actions: "rememberPlace" },
        // It paused, and its last grant was over before that: what it did since was not done under the lock.
        "resource.revoked": [
          { guard: "isTakenAway", target: "losing", actions: ["rememberLockLost", "leaveLine"] },
          { guard: "isOfOwnLock", target: "releasing", actions: ["rememberLockLost", "leaveLine"] },
        ],
        "resource.refused": { guard: "isOfLock", target: "finishing", actions: "rememberRefusedLock" },
        abort: { target: "releasing", actions: ["rememberAbort", "leaveLine"] },
      },
    },
    preparing: {
      entry: "prepareStep",
      always: [{ guard: "isPrepared", target: "running" }, { target: "deciding" }],
    },
    running: {
      invoke: {
        id: "skill",
        src: "runSkill",
        // Only `preparing` leads here, and only with a call.
        input: ({ context }) => context.call as SkillCall,
        onDone: { target: "deciding", actions: "rememberResult" },
        onError: [
          // The signal fires before the abort itself arrives; what it interrupts is no failure. The step's time limit stays.
          { guard: "isInterrupted" },
          { target: "deciding", actions: "rememberError" },
        ],
      },
      on: whileLocked,
      after: { stepTimeout: { target: "ending", actions: "rememberTimeout" } },
    },
    ...stopStates,
    retrying: {
      always: { guard: "isPauseDue", target: "pausing" },
      on: whileLocked,
      after: { retryPause: { target: "preparing", actions: ["renewLock", "planRenewal"] } },
    },
    deciding: {
      always: [
        { guard: "isPauseDue", target: "pausing" },
        { guard: "mayRetry", target: "retrying" },
        { guard: "hasStepDue", target: "preparing", actions: ["renewLock", "planRenewal"] },
        { guard: "holdsLock", target: "releasing", actions: ["judge", "giveLockBack"] },
        { target: "finishing", actions: "judge" },
      ],
    },
    /** The safe point: what was done stays done, the rest waits for the next grant. */
    pausing: { entry: ["stopRenewal", "yieldLock"], always: "acquiring" },
    releasing: {
      entry: "stopRenewal",
      // The resource answers a release or a cancel, whatever crossed it on the way.
      always: { guard: "awaitsNoLock", target: "finishing" },
      on: {
        "resource.released": { guard: "isOfLock", target: "finishing" },
        "resource.revoked": [
          // A try's time may have been up while others worked on it.
          { guard: "isTakenAway", target: "losing", actions: "rememberLateLoss" },
          { guard: "isOfOwnLock", target: "finishing", actions: "rememberLateLoss" },
          { guard: "isOfLock", target: "finishing" },
        ],
        "resource.refused": { guard: "isOfLock", target: "finishing" },
      },
      after: { releaseWait: "finishing" },
    },
    finishing: {
      entry: ["stopRenewal", "close"],
      always: [
        { guard: { type: "endsAs", params: { outcome: "succeeded" } }, target: "succeeded" },
        { guard: { type: "endsAs", params: { outcome: "unknown" } }, target: "unknown" },
        { guard: { type: "endsAs", params: { outcome: "aborted" } }, target: "aborted" },
        { target: "failed" },
      ],
    },
    succeeded: ended,
    failed: ended,
    unknown: ended,
    aborted: ended,
  },
});

export interface TaskActorOptions {
  readonly runSkill: RunSkill;
  readonly stopSkill: StopSkill;
}

/** The kind of actor that a task is; `runSkill` is how its steps reach the world, `stopSkill` how they leave it. */
export function taskActor({ runSkill, stopSkill }: TaskActorOptions): ActorKind {
  const provided = machine.provide({
    actors: {
      // The call carries its own key: the runtime's id for this run of it would change with each try.
      runSkill: fromPromise(({ input, signal }) => runSkill(input, signal)),
      stopSkill: fromPromise(({ input, signal }) => stopSkill(input, signal)),
    },
  });
  return defineActor({
    kind: "task",
    machine: provided,
    version: 3,
    // Version 1 did not know of pauses, version 2 not of the states in which a task stops.
    migrate: (stored) => ({ ...stored, context: { pauseFor: null, ...(stored.context as object) } }),
    publishStatus: true,
    invocationDeadlineMs: INVOCATION_DEADLINE_MS,
  });
}
