/**
 * Stopping what a task has at work outside its node: a service of its step, a command at its device's driver. Invariant: it counts
 * as stopped only if all who may work on it said so; nobody there to ask is no word.
 */
import type { StopCall } from "../actors/messages/task.ts";
import type { Names } from "../nats-config/subjects.ts";
import { BrokerUnavailableError, BusyError, NoResponderError } from "../runtime/errors.ts";
import type { Broker } from "../runtime/port.ts";
import { NATS_SKILL_PREFIX } from "./plan.ts";
import { decodeFields, encodeJson } from "./skill-result.ts";

/** How long a service or driver may take to stop, in ms: some graces of its processes, within what a lock's taker waits. */
export const REMOTE_STOP_MS = 4_000;

interface StopDeps {
  readonly broker: Broker;
  readonly names: Names;
}

/** Asks the service and the driver, if there may be one of them at work. Never rejects for want of an answer. */
export async function stopRemote({ driven, attempt }: StopCall, deps: StopDeps): Promise<boolean> {
  const { names } = deps;
  const asked: Promise<boolean>[] = [];
  if (attempt?.skill.startsWith(NATS_SKILL_PREFIX) === true) {
    const subject = names.skillStop(attempt.skill.slice(NATS_SKILL_PREFIX.length));
    asked.push(ask(deps, subject, { invocationId: attempt.invocationId }));
  }
  if (driven !== null) {
    const { device, token } = driven;
    asked.push(ask(deps, names.deviceCommand(device.host, device.device), { stop: true, token }));
  }
  return (await Promise.all(asked)).every((isStopped) => isStopped);
}

async function ask({ broker }: StopDeps, subject: string, body: object): Promise<boolean> {
  try {
    const answer = decodeFields(await broker.request(subject, encodeJson(body), REMOTE_STOP_MS));
    return answer?.["stopped"] === true;
  } catch (error) {
    const isUnanswered =
      error instanceof NoResponderError || error instanceof BrokerUnavailableError || error instanceof BusyError;
    if (isUnanswered) return false;
    throw error;
  }
}
