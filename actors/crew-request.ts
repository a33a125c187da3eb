/** Checks what comes to a crew from outside. Invariant: pure and total; what passes can be kept, sent on and answered. */
import { checkAddress } from "../runtime/address.ts";
import { sizeOf } from "../runtime/codec.ts";
import { isPriority } from "../runtime/priority.ts";
import { type Need, type Work, WORK_STATES, type WorkEnded } from "./messages/crew.ts";
import { isVersionRange } from "./version.ts";

/** Largest data of one piece of work, in bytes: larger is stored elsewhere and named. */
export const WORK_BYTES = 32 * 1_024;
/** Longest answer of a worker, in bytes: it is sent to each who asked. */
export const RESULT_BYTES = 16 * 1_024;
/** Longest key of equal work, and longest reason, in characters. */
const TEXT_LIMIT_CHARS = 256;
const NEED_LIMIT = 16;
/** Crews that may pass one piece of work on. */
const VIA_LIMIT = 8;

/** Why this cannot be taken as work, or null. Pure and total. */
export function workProblem(given: unknown): string | null {
  if (typeof given !== "object" || given === null) return "The work is not an object";
  const { id, data, needs = [], priority = "normal", deadlineMs = 1, key = "", via = [] } = given as Partial<Work>;
  try {
    checkAddress("work", id);
  } catch (error) {
    return (error as Error).message;
  }
  if (data === undefined) return `Work "${id}" has no data: give null if it needs none`;
  if (sizeOf(data, "The data") > WORK_BYTES)
    return `The data of work "${id}" takes more than ${WORK_BYTES} bytes: store it elsewhere and send its name`;
  if (!isPriority(priority))
    return `The priority ${JSON.stringify(priority)} is not known: use critical, high, normal or low`;
  if (!(Number.isSafeInteger(deadlineMs) && deadlineMs > 0))
    return `The deadlineMs ${JSON.stringify(deadlineMs)} is not a whole number above 0`;
  if (typeof key !== "string" || key.length > TEXT_LIMIT_CHARS)
    return `The key is not a text of at most ${TEXT_LIMIT_CHARS} characters`;
  if (!Array.isArray(via) || via.length > VIA_LIMIT || !via.every((each) => typeof each === "string"))
    return `Work "${id}" was passed on more than ${VIA_LIMIT} times`;
  return needsProblem(needs);
}

/** Why these cannot be needs, or null. */
export function needsProblem(needs: unknown): string | null {
  if (!Array.isArray(needs) || needs.length > NEED_LIMIT) return `The needs are not a list of at most ${NEED_LIMIT}`;
  const wrong = (needs as (Partial<Need> | null)[]).find(
    (need) => typeof need?.name !== "string" || need.name === "" || !isVersionRange(String(need.version ?? "*")),
  );
  return wrong === undefined
    ? null
    : `The need ${JSON.stringify(wrong)} is not { name, version } with a range such as "^1.2.0"`;
}

/** A worker's word as it can be passed on: what is too large, or no end at all, is a failure. */
export function checkedEnd({ work, state, result, reason }: WorkEnded): WorkEnded {
  const ended = { type: "work.ended", work } as const;
  if (!WORK_STATES.includes(state))
    return { ...ended, state: "failed", result: null, reason: `The worker ended with ${JSON.stringify(state)}` };
  const bytes = sizeOf(result, "The result");
  if (bytes > RESULT_BYTES) {
    const problem = `The result takes ${bytes} bytes, more than ${RESULT_BYTES}: store it elsewhere and send its name`;
    return { ...ended, state: "failed", result: null, reason: problem };
  }
  const text = typeof reason === "string" ? reason.slice(0, TEXT_LIMIT_CHARS).toWellFormed() : null;
  return { ...ended, state, result: result ?? null, reason: text };
}

/** Reads `scan` or `scan@^1.2.0`; null: neither. */
export function needOf(text: string): Need | null {
  const at = text.indexOf("@");
  const need = at < 0 ? { name: text } : { name: text.slice(0, at), version: text.slice(at + 1) };
  return needsProblem([need]) === null ? need : null;
}
