/**
 * Skills that are NATS services, in any language: a request on the skill's subject, answered with a result. Invariant: an
 * answer that is not a result, or none at all, never counts as success.
 */
import type { SkillResult } from "../actors/messages/task.ts";
import { askUntilAnswered } from "./reconnecting.ts";
import type { SkillRun } from "./skill.ts";
import { encodeJson, readResult } from "./skill-result.ts";

/** Calls the service `name`. A call is repeated when the connection was lost, not while the service works: that may take long. */
export async function runNatsSkill(
  name: string,
  args: Readonly<Record<string, unknown>>,
  run: SkillRun,
): Promise<SkillResult> {
  const { device, token, fence, task, step, invocationId, names } = run;
  const who = `The skill service "${name}"`;
  const subject = names.skill(name);
  const call = { args, device, token, fence, task, step, invocationId };
  const body = (leftMs: number) => encodeJson({ ...call, deadlineMs: Math.ceil(leftMs) });
  const answer = await askUntilAnswered(run, subject, body, Number.POSITIVE_INFINITY);
  if (answer === "absent")
    return { status: "unknown", message: `${who} is not there: start one that answers requests on "${subject}"` };
  if (answer === "silent")
    return { status: "unknown", message: `${who} did not answer: whether it did its work is unknown` };
  return readResult(who, answer);
}
