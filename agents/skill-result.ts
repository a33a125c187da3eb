/**
 * Results of skills that come from outside the process. Invariant: what passes is a {@link SkillResult} of plain data within
 * the limits; anything else becomes a failure that says why, never a success.
 */
import type { Evidence, SkillResult } from "../actors/messages/task.ts";

/** Largest result, in bytes of JSON: it travels as one message to the task, which keeps what fits its state. */
export const RESULT_MAX_BYTES = 128 * 1_024;
/** Pieces of evidence of one result at most. */
const MAX_EVIDENCE = 20;
/** Longest message kept, in characters. */
const MAX_MESSAGE_CHARS = 1_000;

type Fields = Readonly<Record<string, unknown>>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const failed = (message: string): SkillResult => ({ status: "failed", message: message.slice(0, MAX_MESSAGE_CHARS) });

/** Decodes a JSON object, or null. */
export function decodeFields(bytes: Uint8Array): Fields | null {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return isFields(value) ? value : null;
  } catch (error) {
    // Bad UTF-8 is a TypeError, bad JSON a SyntaxError: both mean "not a JSON object".
    if (error instanceof SyntaxError || error instanceof TypeError) return null;
    throw error;
  }
}

export const encodeJson = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** The valid evidence in `value`; null if something there is not evidence. */
export function evidenceIn(value: unknown): readonly Evidence[] | null {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_EVIDENCE) return null;
  return value.every(isEvidence) ? value : null;
}

function isEvidence(value: unknown): value is Evidence {
  if (!isFields(value)) return false;
  const { kind, at, ref } = value;
  return (
    typeof kind === "string" &&
    kind !== "" &&
    typeof at === "number" &&
    Number.isFinite(at) &&
    (ref === undefined || typeof ref === "string")
  );
}

/** A result as it came from a service; `who` begins the message when it is none. */
export function readResult(who: string, answer: Uint8Array): SkillResult {
  const fields = decodeFields(answer);
  if (fields === null) return failed(`${who} answered no JSON object`);
  const { status, output, message } = fields;
  if (status !== "succeeded" && status !== "failed" && status !== "unknown") {
    return failed(
      `${who} answered the status ${JSON.stringify(status) ?? "undefined"}: answer "succeeded", "failed" or "unknown"`,
    );
  }
  const evidence = evidenceIn(fields["evidence"]);
  if (evidence === null)
    return failed(`${who} answered evidence that is none: give at most ${MAX_EVIDENCE} of { kind, at, ref?, data? }`);
  return {
    status,
    evidence,
    ...(output === undefined ? {} : { output }),
    ...(typeof message === "string" ? { message } : {}),
  };
}

/** `result` if it can travel, else a failure. A result that cannot be written as JSON throws. */
export function boundResult(result: SkillResult): SkillResult {
  const bytes = encodeJson(result).length;
  if (bytes > RESULT_MAX_BYTES)
    return failed(
      `The result has ${bytes} bytes, more than ${RESULT_MAX_BYTES}: store it elsewhere and answer a reference`,
    );
  const { message } = result;
  return message === undefined || message.length <= MAX_MESSAGE_CHARS
    ? result
    : { ...result, message: message.slice(0, MAX_MESSAGE_CHARS) };
}
