/**
 * The records of a task's steps, as pure functions on plain data. Invariant: a step is decided once by its last try; a new
 * idempotency key is made only after an answer "failed", so what may have been done is never asked for under another; and what is kept of outputs and evidence stays small enough for one stored state.
 */
import type { Evidence, SkillCall, SkillResult, Step, StepRecord, TaskOutcome, TaskSpec } from "./messages/task.ts";
import { resolveTemplates } from "./template.ts";

/** Steps of one task at most: far beyond a playbook, small enough for one state. */
export const STEP_LIMIT = 50;
/** Evidence kept per step, first ones win: a step that reports more repeats itself. */
export const EVIDENCE_PER_STEP = 20;
/** Largest output or evidence data kept, in bytes of JSON. Larger ones are replaced by a note of their size. */
export const VALUE_LIMIT_BYTES = 16 * 1_024;
/** All outputs and evidence of one task at most, in bytes of JSON: they stand in the state twice, beside the event and a call. */
export const KEPT_LIMIT_BYTES = 96 * 1_024;
/** Largest arguments of one call after filling, in bytes of JSON: what travels beyond is passed by reference. */
export const ARGS_LIMIT_BYTES = 64 * 1_024;
/** Longest text kept of an error, in characters. */
const ERROR_LIMIT_CHARS = 1_000;

export const newRecord = (step: Step): StepRecord => ({
  id: step.id,
  skill: step.skill,
  status: "pending",
  attempt: 0,
  tries: 0,
  startedAtMs: null,
  endedAtMs: null,
  output: null,
  evidence: [],
  error: null,
});

export const replaceAt = <T>(list: readonly T[], index: number, patch: Partial<T>): readonly T[] =>
  list.map((item, i) => (i === index ? { ...item, ...patch } : item));

/** The first step that has not succeeded; -1: all have. */
export const currentIndex = (records: readonly StepRecord[]): number =>
  records.findIndex(({ status }) => status !== "succeeded");

/** The idempotency key of an attempt. */
export const invocationIdOf = (task: string, step: string, attempt: number): string => `${task}/${step}/${attempt}`;

export type Prepared = { readonly ok: true; readonly call: SkillCall } | { readonly ok: false; readonly error: string };

/** Whose call it is, and when it is made. */
export interface Caller {
  readonly task: string;
  readonly token: number | null;
  readonly fence: SkillCall["fence"];
  readonly nowMs: number;
}

/** Makes the call of a step's next try, with its templates filled. */
export function prepareCall(
  spec: TaskSpec,
  records: readonly StepRecord[],
  index: number,
  { task, token, fence, nowMs }: Caller,
): Prepared {
  const step = spec.steps[index] as Step;
  if (step.needsDevice && spec.device === null) {
    return {
      ok: false,
      error: `Skill "${step.skill}" needs a device and the task has none: let the playbook take "device: event"`,
    };
  }
  const done = records.map(({ id, status, output }) => [id, { status, output }] as const);
  const filled = resolveTemplates(step.with, {
    event: spec.event,
    device: spec.device,
    steps: Object.fromEntries(done),
    task,
  });
  if (!filled.ok) return { ok: false, error: filled.error };
  const args = filled.value as Readonly<Record<string, unknown>>;
  if (bytesOf(args) > ARGS_LIMIT_BYTES) {
    return {
      ok: false,
      error: `The arguments take ${bytesOf(args)} bytes, more than ${ARGS_LIMIT_BYTES}: pass a reference instead`,
    };
  }
  const attempt = attemptOf(records[index] as StepRecord);
  const { skill, id, timeoutMs } = step;
  const key = { attempt, invocationId: invocationIdOf(task, id, attempt), deadlineAtMs: nowMs + timeoutMs };
  return { ok: true, call: { skill, args, device: spec.device, token, fence, task, step: id, ...key } };
}

/** Only an answer "failed" ends an attempt. Without one nobody knows what was done: only the same key finds out. */
const attemptOf = ({ status, attempt }: StepRecord): number =>
  status === "failed" ? attempt + 1 : Math.max(1, attempt);

/** What a skill returned, brought into bounds. Whatever is not a result is a failure, never a success. */
export function settledBy(
  result: unknown,
  keptBytes: number,
): Pick<StepRecord, "status" | "output" | "evidence" | "error"> {
  const given = typeof result === "object" && result !== null ? (result as Partial<SkillResult>) : {};
  const { status } = given;
  if (status !== "succeeded" && status !== "failed" && status !== "unknown") {
    return {
      status: "failed",
      output: null,
      evidence: [],
      error: "The skill gave no result: return { status, output, evidence }",
    };
  }
  const list = Array.isArray(given.evidence) ? given.evidence.filter(isEvidence).slice(0, EVIDENCE_PER_STEP) : [];
  const room = Math.max(0, Math.min(VALUE_LIMIT_BYTES, KEPT_LIMIT_BYTES - keptBytes));
  const output = keep(given.output, room);
  let left = Math.max(0, KEPT_LIMIT_BYTES - keptBytes - bytesOf(output));
  const evidence = list.map((one): Evidence => {
    const small = trimmed(one, Math.min(left, VALUE_LIMIT_BYTES));
    left = Math.max(0, left - bytesOf(small));
    return small;
  });
  const fallback = status === "succeeded" ? null : `The skill reported "${status}" without a message`;
  return { status, output, evidence, error: status === "succeeded" ? null : (errorText(given.message) ?? fallback) };
}

/** Bytes of JSON that all records hold in outputs and evidence. */
export const keptBytes = (records: readonly StepRecord[]): number =>
  records.reduce((sum, { output, evidence }) => sum + bytesOf(output) + bytesOf(evidence), 0);

const bytesOf = (value: unknown): number =>
  value === null || value === undefined ? 0 : Buffer.byteLength(JSON.stringify(value) ?? "");

const isEvidence = (value: unknown): value is Evidence =>
  typeof value === "object" &&
  value !== null &&
  typeof (value as Evidence).kind === "string" &&
  typeof (value as Evidence).at === "number";

function keep(value: unknown, room: number): unknown {
  const bytes = bytesOf(value);
  return bytes <= room
    ? (value ?? null)
    : { dropped: `${bytes} bytes, more than the ${room} that fit: store it elsewhere and return a reference` };
}

function trimmed(one: Evidence, room: number): Evidence {
  const { kind, at, ref, data } = one;
  const small = {
    kind: kind.slice(0, 100),
    at,
    ...(typeof ref === "string" && { ref: ref.slice(0, ERROR_LIMIT_CHARS) }),
  };
  return data === undefined ? small : { ...small, data: keep(data, room) };
}

/** The text of an error as it comes from a skill or from the runtime; null if it has none. */
export function errorText(error: unknown): string | null {
  const text = typeof error === "object" && error !== null ? (error as { message?: unknown }).message : error;
  return typeof text === "string" && text !== "" ? text.slice(0, ERROR_LIMIT_CHARS) : null;
}

export interface Verdict {
  readonly outcome: TaskOutcome;
  readonly reason: string | null;
}

/** How a task ends whose steps have all been tried. Success without evidence is a failure: nobody could check it. */
export function verdictOf(records: readonly StepRecord[]): Verdict {
  const open = records[currentIndex(records)];
  if (open !== undefined) {
    const outcome = open.status === "unknown" ? "unknown" : "failed";
    return { outcome, reason: `Step "${open.id}": ${open.error ?? `ended ${open.status}`}` };
  }
  const seen = records.some(({ evidence }) => evidence.length > 0);
  return seen ? { outcome: "succeeded", reason: null } : { outcome: "failed", reason: "no_evidence" };
}
