/**
 * What a task knows, and how each happening changes it. Invariant: pure functions of the state and of the input's time;
 * the outcome is set once, but a success is taken back if the lock was over before the work was.
 */
import { addressOf, keyOf } from "../runtime/address.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { deviceId } from "./messages/event.ts";
import type {
  Evidence,
  SkillCall,
  Step,
  StepRecord,
  TaskFinished,
  TaskMessage,
  TaskOutcome,
  TaskSpec,
} from "./messages/task.ts";
import { lockOf, specProblem } from "./task-spec.ts";
import {
  currentIndex,
  errorText,
  keptBytes,
  newRecord,
  prepareCall,
  replaceAt,
  settledBy,
  verdictOf,
} from "./task-steps.ts";

export interface TaskContext {
  readonly id: string;
  readonly spec: TaskSpec | null;
  /** Agent that is told how the task ended. */
  readonly reportTo: string | null;
  readonly trigger: string;
  readonly steps: readonly StepRecord[];
  /** Of all steps, in their order. */
  readonly evidence: readonly Evidence[];
  readonly lock: { readonly resource: string; readonly token: number } | null;
  /** Where it stands in the lock's line, as it was when it joined. */
  readonly place: { readonly position: number; readonly holder: string } | null;
  /** Who is to have the device next: the task pauses before its next step. Null: it goes on. */
  readonly pauseFor: string | null;
  /** What the running skill was called with. */
  readonly call: SkillCall | null;
  readonly outcome: TaskOutcome | null;
  readonly reason: string | null;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
}

type Change = Partial<TaskContext>;

/** Longest reason kept, in characters. */
const REASON_LIMIT_CHARS = 500;

export const newTask = (id: string): TaskContext => ({
  id,
  spec: null,
  reportTo: null,
  trigger: "",
  steps: [],
  evidence: [],
  lock: null,
  place: null,
  pauseFor: null,
  call: null,
  outcome: null,
  reason: null,
  startedAtMs: null,
  endedAtMs: null,
});

export const started = (spec: TaskSpec): Change => ({
  spec,
  reportTo: spec.agent,
  trigger: spec.trigger,
  steps: spec.steps.map(newRecord),
  startedAtMs: now(),
});

/** A start that cannot be followed, from an agent: it counts on an answer. Null from anybody else, who may try again. */
export function refusedTask(spec: unknown): Change | null {
  const problem = specProblem(spec);
  const { kind, id } = addressOf(sender());
  if (problem === null || kind !== "agent") return null;
  const trigger = (spec as Partial<TaskSpec> | null | undefined)?.trigger;
  return { reportTo: id, trigger: String(trigger ?? ""), outcome: "failed", reason: `bad_task: ${problem}` };
}

export function currentStep(
  context: TaskContext,
): Pick<Step, "timeoutMs" | "retries"> & Pick<StepRecord, "status" | "tries"> {
  const index = currentIndex(context.steps);
  const [step, record] = [context.spec?.steps[index], context.steps[index]];
  return {
    timeoutMs: step?.timeoutMs ?? 0,
    retries: step?.retries ?? 0,
    status: record?.status ?? "succeeded",
    tries: record?.tries ?? 0,
  };
}

export function mayRetry(context: TaskContext): boolean {
  const { status, tries, retries } = currentStep(context);
  return (status === "failed" || status === "unknown") && tries <= retries;
}

export const hasStepDue = (context: TaskContext): boolean => currentStep(context).status === "pending";

/** What the lock says that this task asks for or holds, whichever of its grants it is about. */
export function isOfLock({ spec }: TaskContext, event: TaskMessage): boolean {
  return "resource" in event && event.resource === (spec && lockOf(spec)) && isFromResource(event.resource);
}

/** News of the grant that this task has, from the lock itself. */
export const isOfOwnLock = (context: TaskContext, event: TaskMessage): boolean =>
  isOfLock(context, event) && "token" in event && context.lock?.token === event.token;

/** Between two steps, with more to do and somebody to let pass. */
export const isPauseDue = (context: TaskContext): boolean =>
  context.pauseFor !== null && context.lock !== null && (mayRetry(context) || hasStepDue(context));

/** Whether the task is at a safe point by then: what runs is over, and a pause between two tries is one. */
export const canPauseBy = ({ call }: TaskContext, byMs: number): boolean => call === null || call.deadlineAtMs <= byMs;

/** Only the lock itself gives and takes: a grant that a client made up would drive the device under a token never issued. */
const isFromResource = (id: string): boolean => sender() === keyOf("resource", id);

export function isDeviceLocked({ spec, lock }: TaskContext): boolean {
  const device = spec?.device;
  return Boolean(device && lock?.resource === deviceId(device));
}

/** Starts the next try of the current step; a step whose call cannot be made fails at once, for good. */
export function prepared(context: TaskContext): Change {
  const index = currentIndex(context.steps);
  const record = context.steps[index];
  if (context.spec === null || record === undefined) return { call: null };
  const made = prepareCall(context.spec, context.steps, index, {
    task: context.id,
    // Another resource's token says nothing to a device.
    token: isDeviceLocked(context) ? (context.lock?.token ?? null) : null,
    fence: context.lock,
    nowMs: now(),
  });
  const times = { startedAtMs: record.startedAtMs ?? now(), endedAtMs: null };
  if (made.ok) {
    const { attempt } = made.call;
    const tries = record.tries + 1;
    return {
      call: made.call,
      steps: replaceAt(context.steps, index, { ...times, status: "running", attempt, tries, error: null }),
    };
  }
  return {
    call: null,
    steps: replaceAt(context.steps, index, {
      startedAtMs: times.startedAtMs,
      endedAtMs: now(),
      status: "failed",
      tries: currentStep(context).retries + 1, // the same arguments would fail again
      error: made.error,
    }),
  };
}

function closed(context: TaskContext, patch: Partial<StepRecord>): Change {
  const steps = replaceAt(context.steps, currentIndex(context.steps), { ...patch, endedAtMs: now() });
  return { call: null, steps, evidence: steps.flatMap(({ evidence }) => evidence) };
}

export function afterResult(context: TaskContext, result: unknown): Change {
  const others = replaceAt(context.steps, currentIndex(context.steps), { output: null, evidence: [] });
  return closed(context, settledBy(result, keptBytes(others)));
}

/** A skill that threw has not answered: it may have acted before. */
export const afterError = (context: TaskContext, error: unknown): Change =>
  closed(context, { status: "unknown", error: errorText(error) ?? "The skill threw without a message" });

export const afterTimeout = (context: TaskContext): Change =>
  closed(context, { status: "unknown", error: `No result within ${currentStep(context).timeoutMs} ms` });

/** Ends what runs and skips the rest. A step that was interrupted may have acted: nobody knows. */
function cut(context: TaskContext, patch: Partial<StepRecord>): Change {
  const steps = context.steps.map((record): StepRecord => {
    if (record.status === "pending") return { ...record, status: "skipped" };
    // Between two tries the step has its own error and keeps it.
    return record.status === "running" ? { ...record, ...patch, endedAtMs: now() } : record;
  });
  return { call: null, steps };
}

const LOST = { status: "failed", error: "The lock was lost while the step ran" } as const;

export function afterLockLost(context: TaskContext, event: TaskMessage): Change {
  const { by, why, reason } = event.type === "resource.revoked" ? event : { by: null, why: null, reason: "expired" };
  const how = reason === "expired" ? "" : `: ${reason}${by ? ` by "${by}"` : ""}${why ? `: ${why}` : ""}`;
  const text = `lock_lost${how}`.slice(0, REASON_LIMIT_CHARS);
  return { ...cut(context, LOST), outcome: "failed", reason: text };
}

/** The news that the lock expired came after the last step: what ended later was not done under the lock. */
export function afterLateLoss(context: TaskContext, expiredAtMs: number): Change {
  const isLate = ({ endedAtMs }: StepRecord) => endedAtMs !== null && endedAtMs > expiredAtMs;
  if (context.outcome !== "succeeded" || !context.steps.some(isLate)) return {};
  const steps = context.steps.map((record) => (isLate(record) ? { ...record, ...LOST } : record));
  return { steps, outcome: "failed", reason: "lock_lost" };
}

export function afterAbort(context: TaskContext, reason: unknown): Change {
  const text = typeof reason === "string" && reason !== "" ? reason.slice(0, REASON_LIMIT_CHARS) : "aborted";
  return { ...cut(context, { status: "unknown", error: `Aborted: ${text}` }), outcome: "aborted", reason: text };
}

export function afterRefusedLock(context: TaskContext, reason: string): Change {
  return { ...cut(context, {}), outcome: "failed", reason: `lock_refused: ${reason}` };
}

/** The outcome from the steps, all of which were tried or are not to be. */
export const judged = (context: TaskContext): Change => ({ ...cut(context, {}), ...verdictOf(context.steps) });

export const finishedFact = (context: TaskContext): TaskFinished => ({
  type: "task.finished",
  task: context.id,
  state: context.outcome ?? "failed",
  reason: context.reason,
  trigger: context.trigger,
  lastLookAtMs: lastLookAtMs(context),
});

/** When the last step began that dealt with the device; of a task without one: when its last step began. */
function lastLookAtMs({ spec, steps }: TaskContext): number | null {
  const looks = steps.flatMap(({ startedAtMs }, i) =>
    startedAtMs !== null && (!spec?.device || spec.steps[i]?.needsDevice === true) ? [startedAtMs] : [],
  );
  return looks.at(-1) ?? null;
}

/** What the pool of results is told. */
export function finishedNews(context: TaskContext): Readonly<Record<string, unknown>> {
  const { spec } = context;
  return {
    task: context.id,
    state: context.outcome ?? "failed",
    reason: context.reason,
    trigger: context.trigger,
    agent: context.reportTo,
    agent_version: spec?.agentVersion ?? null,
    event: spec === null ? null : { source: spec.event.source, id: spec.event.id },
    steps: context.steps.map(({ id, skill, status, attempt, error }) => ({ id, skill, status, attempt, error })),
    evidence_count: context.evidence.length,
    started_at_ms: context.startedAtMs,
    ended_at_ms: context.endedAtMs,
    ...(spec?.device && { host_name: spec.device.host, device_id: spec.device.device }),
  };
}

/** True for an invocation that was stopped from outside, not one that failed. */
export function isInterrupted(error: unknown): boolean {
  const { name, code } = (typeof error === "object" && error !== null ? error : {}) as {
    name?: unknown;
    code?: unknown;
  };
  return code === "ABORTED" || name === "AbortError";
}
