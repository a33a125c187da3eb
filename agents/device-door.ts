/**
 * The door of a device: one command to its driver and its answer. Invariant: every command carries the lock's token and
 * the invocation's id, so a stale holder is refused and a repeated command is done once.
 */
import { deviceId } from "../actors/messages/event.ts";
import type { SkillResult } from "../actors/messages/task.ts";
import { BrokerUnavailableError, NoResponderError } from "../runtime/errors.ts";
import { abortable } from "./abortable.ts";
import { whilePresent } from "./reconnecting.ts";
import type { SkillRun } from "./skill.ts";
import { decodeFields, encodeJson, evidenceIn } from "./skill-result.ts";

/** How long one request waits for the driver before the same command is sent again, in ms: slow remotes take seconds. */
export const COMMAND_ATTEMPT_MS = 10_000;
/** Sendings of one command at most. Beyond, what became of it is unknown; the step's own timeout comes before, as a rule. */
export const COMMAND_ATTEMPTS = 6;

/** Sends `command` to the device of the run. */
export async function commandDevice(
  run: SkillRun,
  command: string,
  params: Readonly<Record<string, unknown>> = {},
): Promise<SkillResult> {
  const { device, token, task, step, invocationId, broker, names } = run;
  if (device === null || token === null)
    return { status: "failed", message: `The command "${command}" needs a locked device, and the task holds none` };
  const who = `The driver of "${deviceId(device)}"`;
  const body = encodeJson({ command, params, token, task, step, invocationId });
  for (let attempt = 1; attempt <= COMMAND_ATTEMPTS; attempt++) {
    try {
      // Under the same id: a driver that is reconnecting answers a repeated command without doing it twice.
      const subject = names.deviceCommand(device.host, device.device);
      const send = () => broker.request(subject, body, COMMAND_ATTEMPT_MS);
      const sent = attempt === 1 ? whilePresent(send, run.signal) : send();
      return readAnswer(who, command, await abortable(sent, run.signal, `The command "${command}"`));
    } catch (error) {
      // Only if nothing was sent before is it known that nothing was done.
      if (error instanceof NoResponderError && attempt === 1)
        return { status: "failed", message: `${who} is not there: start it, or check that its host is online` };
      if (error instanceof NoResponderError) break;
      if (!(error instanceof BrokerUnavailableError)) throw error;
    }
  }
  return {
    status: "unknown",
    message: `${who} did not answer "${command}": whether it was done is unknown`,
  };
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
