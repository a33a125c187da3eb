/** Checks what a crew is declared with, and fills in the defaults. Invariant: pure and total; a plan that passes is complete. */
import { addressOf, checkAddress, MAX_ID_LENGTH } from "../runtime/address.ts";
import { ASSIGNMENTS, BALANCES, type CrewPlan } from "./messages/crew.ts";

/** Hired workers of one crew at most: beyond, a crew is spread over shards. */
export const WORKER_LIMIT = 200;
/** Waiting pieces of work of one crew at most: what small pieces fit its state, which is one actor's. */
export const QUEUE_LIMIT = 500;
/** Longest deadline, attempt and window, in ms: a day. */
const SPAN_MAX_MS = 86_400_000;
/** Shortest span that a crew's clock can keep, in ms: well above {@link TICK_MS}. */
const SPAN_MIN_MS = 100;
/** Workers that one piece of work is given to at most. */
const ATTEMPT_LIMIT = 10;

const DEFAULTS: CrewPlan = {
  worker: null,
  min: 0,
  max: 4,
  balance: "LEAST_BUSY",
  assignment: "QUEUED",
  delegateTo: null,
  whenUnfit: "QUEUE",
  queueLimit: QUEUE_LIMIT,
  deadlineMs: 600_000,
  attemptMs: 60_000,
  attempts: 3,
  consolidateMs: 10_000,
  backlogPerWorker: 4,
  growAfterMs: 1_000,
  shrinkAfterMs: 30_000,
};

type Bounds = readonly [min: number, max: number];
const SPAN: Bounds = [SPAN_MIN_MS, SPAN_MAX_MS];
const NUMBERS: Readonly<Partial<Record<keyof CrewPlan, Bounds>>> = {
  min: [0, WORKER_LIMIT],
  max: [0, WORKER_LIMIT],
  queueLimit: [1, QUEUE_LIMIT],
  attempts: [1, ATTEMPT_LIMIT],
  backlogPerWorker: [0, QUEUE_LIMIT],
  deadlineMs: SPAN,
  attemptMs: SPAN,
  consolidateMs: SPAN,
  growAfterMs: SPAN,
  shrinkAfterMs: SPAN,
};
const WORDS: Readonly<Partial<Record<keyof CrewPlan, readonly string[]>>> = {
  balance: BALANCES,
  assignment: ASSIGNMENTS,
  whenUnfit: ["QUEUE", "REFUSE"],
};

/** The plan with its defaults, or why it cannot be one. */
export function planFrom(crew: string, given: unknown): CrewPlan | string {
  if (typeof given !== "object" || given === null) return "The plan is not an object";
  const unknown = Object.keys(given).find((key) => !(key in DEFAULTS));
  if (unknown !== undefined)
    return `The plan's field ${JSON.stringify(unknown)} is not known: known are ${Object.keys(DEFAULTS).join(", ")}`;
  const plan = { ...DEFAULTS, ...(given as Partial<CrewPlan>) };
  return numbersProblem(plan) ?? wordsProblem(plan) ?? addressProblem(crew, plan) ?? plan;
}

function numbersProblem(plan: CrewPlan): string | null {
  for (const [key, [min, max]] of Object.entries(NUMBERS)) {
    const value: unknown = plan[key as keyof CrewPlan];
    if (!(Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max))
      return `The plan's ${key} ${JSON.stringify(value)} is not a whole number from ${min} to ${max}`;
  }
  return plan.min > plan.max ? `The plan's min ${plan.min} is above its max ${plan.max}` : null;
}

function wordsProblem(plan: CrewPlan): string | null {
  for (const [key, words] of Object.entries(WORDS)) {
    const value: unknown = plan[key as keyof CrewPlan];
    if (!words.includes(value as string))
      return `The plan's ${key} ${JSON.stringify(value)} is not known: use ${words.join(", ")}`;
  }
  return null;
}

function addressProblem(crew: string, { worker, min, max, assignment, delegateTo }: CrewPlan): string | null {
  if (worker === null && min > 0) return `The plan wants ${min} workers and names no kind to hire: give worker`;
  if ((assignment === "DELEGATED") !== (delegateTo !== null))
    return "The plan needs both the assignment DELEGATED and delegateTo, or neither";
  try {
    if (worker !== null) checkAddress(worker, `${crew}:${max}`);
    if (crew.length > CREW_ID_MAX)
      return `The crew's id takes more than ${CREW_ID_MAX} characters: its workers are named after it`;
    if (delegateTo === null) return null;
    if (typeof delegateTo !== "string") return `The plan's delegateTo ${JSON.stringify(delegateTo)} is not "kind/id"`;
    const { kind, id } = addressOf(delegateTo);
    checkAddress(kind, id);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Longest id of a crew, in characters: its workers' add their number. */
const CREW_ID_MAX = MAX_ID_LENGTH - 16;
