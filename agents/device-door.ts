/**
 * The door of a device: one command to its driver and its answer. Invariant: every command carries the lock's token and
 * the step's idempotency key, so a stale holder is refused and a repeated command is done once.
 */
import { deviceId } from "../actors/messages/event.ts";
import type { SkillResult } from "../actors/messages/task.ts";
import { askUntilAnswered } from "./reconnecting.ts";
import type { SkillRun } from "./skill.ts";
import { decodeFields, encodeJson, evidenceIn } from "./skill-result.ts";

/** How long a driver is waited for before the same command is sent again, in ms: slow remotes take seconds. */
export const COMMAND_RESEND_MS = 10_000;

/** Sends `command` to the device of the run. */
export async function commandDevice(
  run: SkillRun,
  command: string,
  params: Readonly<Record<string, unknown>> = {},
): Promise<SkillResult> {
  const { device, token, task, step, invocationId, names } = run;
  if (device === null || token === null)
    return { status: "failed", message: `The command "${command}" needs a locked device, and the task holds none` };
  const who = `The driver of "${deviceId(device)}"`;
  const body = encodeJson({ command, params, token, task, step, invocationId });
  const subject = names.deviceCommand(device.host, device.device);
  const answer = await askUntilAnswered(run, subject, () => body, COMMAND_RESEND_MS);
  if (answer === "absent")
    return { status: "unknown", message: `${who} is not there: start it, or check that its host is online` };
  if (answer === "silent")
    return { status: "unknown", message: `${who} did not answer "${command}": whether it was done is unknown` };
  return readAnswer(who, command, answer);
}

function readAnswer(who: string, command: string, answer: Uint8Array): SkillResult {
  const fields = decodeFields(answer);
  if (fields === null || typeof fields["ok"] !== "boolean")
    return { status: "failed", message: `${who} answered "${command}" with no JSON object that has "ok"` };
  const { ok, output, error, code } = fields;
  const evidence = evidenceIn(fields["evidence"]);
  if (evidence === null)
    return { status: "failed", message: `${who} answered "${command}" with evidence that is none` };
  const shown = { evidence, ...(output === undefined ? {} : { output }) };
  if (ok) return { status: "succeeded", ...shown };
  const reason = typeof error === "string" && error !== "" ? error : "no reason given";
  return {
    status: "failed",
    ...shown,
    message: `${who} refused "${command}"${typeof code === "string" ? ` (${code})` : ""}: ${reason}`,
  };
}
