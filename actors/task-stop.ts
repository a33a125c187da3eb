/**
 * How a task stops what it has at work before it lets its lock go. Invariant: a lock that was taken by force is told that all
 * stopped only if that was heard; after {@link STOP_WAIT_MS} the task goes on without the word.
 */
import { CONFIRM_MS } from "./resource-grants.ts";
import { currentIndex, invocationIdOf } from "./task-steps.ts";
import type { StopCall } from "./messages/task.ts";
import { isDeviceLocked, type TaskContext } from "./task-state.ts";

/** How long what was cut off may take to end, in ms: as long as whoever takes the lock by force waits. */
export const STOP_WAIT_MS = CONFIRM_MS;

/** What may still be at work. */
function stopCallOf(context: TaskContext): StopCall {
  const { id, spec, lock, steps } = context;
  const device = isDeviceLocked(context) ? spec?.device : null;
  const last = steps[currentIndex(steps)];
  return {
    task: id,
    driven: device && lock ? { device, token: lock.token } : null,
    attempt:
      last === undefined || last.attempt === 0
        ? null
        : { skill: last.skill, invocationId: invocationIdOf(id, last.id, last.attempt) },
  };
}

/** A service and a driver go on beyond a try's time: the next try asks them for the same. */
const ownRunsOf = ({ id }: TaskContext): StopCall => ({ task: id, driven: null, attempt: null });

const WORK = { id: "stop", src: "stopSkill" } as const;
type Args = { readonly context: TaskContext };

export const whileLocked = {
  "lock.renew": { actions: ["renewLock", "planRenewal"] },
  "resource.expiring": { guard: "isOfOwnLock", actions: "renewLock" },
  "resource.pause": { guard: "isOfOwnLock", actions: "rememberPause" },
  "resource.releaseAsked": [
    { guard: "canPause", actions: ["rememberPause", "acceptRelease"] },
    { guard: "isOfOwnLock", actions: "declineRelease" },
  ],
  "resource.revoked": [
    { guard: "isTakenAway", target: "#task.losing", actions: "rememberLockLost" },
    // Whoever comes next has it already: nobody waits for a word.
    { guard: "isOfOwnLock", target: "#task.finishing", actions: "rememberLockLost" },
  ],
  "resource.abort": { guard: "isOfOwnLock", target: "#task.stopping", actions: "rememberAbortedLock" },
  abort: { target: "#task.stopping", actions: "rememberAbort" },
} as const;

/** The signal of a further abort: nothing is known by it of what is to stop, and the wait goes on. */
const abortedAgain = { guard: "isInterrupted" } as const;
const givenBack = { target: "releasing", actions: "giveLockBack" } as const;

export const stopStates = {
  /** A try's time is up: what it began ends before anything else begins. */
  ending: {
    invoke: {
      ...WORK,
      input: ({ context }: Args) => ownRunsOf(context),
      onDone: "deciding",
      // An abort that is on its way fired the signal: it decides.
      onError: [{ guard: "isInterrupted" }, { target: "deciding" }],
    },
    on: whileLocked,
    after: { stopWait: "deciding" },
  },
  /** Aborted: the lock is held until nothing runs under it. */
  stopping: {
    invoke: {
      ...WORK,
      input: ({ context }: Args) => stopCallOf(context),
      onDone: givenBack,
      onError: [abortedAgain, givenBack],
    },
    on: {
      "lock.renew": whileLocked["lock.renew"],
      "resource.expiring": whileLocked["resource.expiring"],
      "resource.revoked": [
        { guard: "isTakenAway", target: "losing" },
        { guard: "isOfOwnLock", target: "finishing" },
      ],
    },
    after: { stopWait: givenBack },
  },
  /** The lock was taken away; whoever took it by force waits for the word. */
  losing: {
    entry: "stopRenewal",
    invoke: {
      ...WORK,
      input: ({ context }: Args) => stopCallOf(context),
      onDone: [{ guard: "hasStopped", target: "finishing", actions: "confirmStop" }, { target: "finishing" }],
      onError: [abortedAgain, { target: "finishing" }],
    },
    after: { stopWait: "finishing" },
  },
} as const;
