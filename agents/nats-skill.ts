/**
 * Skills that are NATS services, in any language: a request on the skill's subject, answered with a result. Invariant: an
 * answer that is not a result, or none at all, never counts as success.
 */
import type { SkillResult } from "../actors/messages/task.ts";
import { BrokerUnavailableError, NoResponderError } from "../runtime/errors.ts";
import { abortable } from "./abortable.ts";
import { whilePresent } from "./reconnecting.ts";
import type { SkillRun } from "./skill.ts";
import { encodeJson, readResult } from "./skill-result.ts";

/** A service that needs longer is given up, in ms: the longest step there is. The step's own timeout comes before. */
export const NATS_SKILL_DEADLINE_MS = 3_600_000;

/** Calls the service `name`. */
export async function runNatsSkill(
  name: string,
  args: Readonly<Record<string, unknown>>,
  run: SkillRun,
): Promise<SkillResult> {
  const { device, token, task, step, invocationId, broker, names } = run;
  const who = `The skill service "${name}"`;
  const subject = names.skill(name);
  const body = encodeJson({ args, device, token, task, step, invocationId, deadlineMs: NATS_SKILL_DEADLINE_MS });
  try {
    const sent = whilePresent(() => broker.request(subject, body, NATS_SKILL_DEADLINE_MS), run.signal);
    return readResult(who, await abortable(sent, run.signal, who));
  } catch (error) {
    if (error instanceof NoResponderError)
      return { status: "failed", message: `${who} is not there: start one that answers requests on "${subject}"` };
    if (error instanceof BrokerUnavailableError)
      return { status: "unknown", message: `${who} did not answer: whether it did its work is unknown` };
    throw error;
  }
}
