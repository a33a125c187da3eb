/** Checks what a task is started with. Invariant: pure and total; a spec that passes can be run without surprises. */
import { checkAddress } from "../runtime/address.ts";
import { isPriority } from "../runtime/priority.ts";
import { deviceId } from "./messages/event.ts";
import type { Step, TaskSpec } from "./messages/task.ts";
import { LOCK_TTL_MAX_MS, LOCK_TTL_MIN_MS } from "./resource-claim.ts";
import { STEP_LIMIT } from "./task-steps.ts";

/** Longest attempt of one step, in ms: an hour. The kind's invocation deadline stands above it. */
export const STEP_TIMEOUT_MAX_MS = 3_600_000;
/** Further attempts of one step at most: what fails so often needs a person. */
export const RETRY_LIMIT = 10;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isName = (value: unknown): value is string => typeof value === "string" && value !== "" && value.length <= 128;
const isWholeIn = (value: unknown, min: number, max: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;

/** The resource that the task holds from its first step to its last; null: none. */
export const lockOf = ({ lock, device }: Pick<TaskSpec, "lock" | "device">): string | null =>
  lock === undefined ? device && deviceId(device) : lock;

/** Why the task cannot be started, or null. */
export function specProblem(value: unknown): string | null {
  if (!isObject(value)) return "The task is not an object";
  const spec = value as Partial<Record<keyof TaskSpec, unknown>>;
  const problem =
    addressProblem("agent", spec.agent) ??
    (isName(spec.agentVersion) && isName(spec.trigger) ? null : "The task needs the texts agentVersion and trigger") ??
    (isObject(spec.event) ? null : "The task needs the event that started it") ??
    (isPriority(spec.priority)
      ? null
      : `The priority ${JSON.stringify(spec.priority)} is not known: use critical, high, normal or low`) ??
    deviceProblem(spec.device) ??
    (spec.lock === undefined || spec.lock === null ? null : addressProblem("resource", spec.lock));
  if (problem !== null) return problem;
  if (lockOf(spec as TaskSpec) !== null && !isWholeIn(spec.lockTtlMs, LOCK_TTL_MIN_MS, LOCK_TTL_MAX_MS)) {
    return `lockTtlMs ${JSON.stringify(spec.lockTtlMs)} is not a whole number from ${LOCK_TTL_MIN_MS} to ${LOCK_TTL_MAX_MS}`;
  }
  return stepsProblem(spec.steps);
}

function addressProblem(kind: string, id: unknown): string | null {
  try {
    checkAddress(kind, id);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function deviceProblem(device: unknown): string | null {
  if (device === null) return null;
  if (!isObject(device) || !isName(device["host"]) || !isName(device["device"]))
    return "The device is neither null nor { host, device }";
  return addressProblem("resource", deviceId({ host: device["host"], device: device["device"] }));
}

function stepsProblem(steps: unknown): string | null {
  if (!Array.isArray(steps) || steps.length === 0 || steps.length > STEP_LIMIT)
    return `The task needs 1 to ${STEP_LIMIT} steps`;
  const ids = new Set<unknown>();
  for (const step of steps as unknown[]) {
    const problem = isObject(step) ? stepProblem(step) : "it is not an object";
    const id = isObject(step) ? step["id"] : undefined;
    if (problem !== null) return `Step ${JSON.stringify(id ?? null)} cannot be run: ${problem}`;
    if (ids.has(id)) return `Two steps are named ${JSON.stringify(id)}: give each its own id`;
    ids.add(id);
  }
  return null;
}

function stepProblem(step: { readonly [K in keyof Step]?: unknown }): string | null {
  if (!isName(step.id) || !isName(step.skill)) return "id and skill must be texts of 1 to 128 characters";
  if (!isObject(step.with)) return '"with" must be an object';
  if (!isWholeIn(step.timeoutMs, 1, STEP_TIMEOUT_MAX_MS))
    return `timeoutMs must be a whole number from 1 to ${STEP_TIMEOUT_MAX_MS}`;
  if (!isWholeIn(step.retries, 0, RETRY_LIMIT)) return `retries must be a whole number from 0 to ${RETRY_LIMIT}`;
  return typeof step.needsDevice === "boolean" ? null : "needsDevice must be true or false";
}
