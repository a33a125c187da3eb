/** Checks what an agent is sent. Invariant: pure and total; what passes can be kept and worked on without surprises. */
import { routerId } from "../actors/messages/router.ts";
import { checkAddress } from "../runtime/address.ts";
import { AddressError } from "../runtime/errors.ts";
import { isPriority } from "../runtime/priority.ts";
import { MAX_PARALLEL_TASKS } from "./definition-schema.ts";
import { isFields } from "./skill-result.ts";
import { parseVersion } from "../actors/version.ts";

const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** Why the plan cannot be deployed to agent `id`, or null. Its steps are checked by the task that runs them. */
export function planProblem(id: string, plan: unknown): string | null {
  if (!isFields(plan)) return "The plan is not an object";
  if (plan["id"] !== id)
    return `The plan is for agent ${JSON.stringify(plan["id"]) ?? "undefined"}, not "${id}": send it there`;
  const { version, triggers, pools, maxParallelTasks, playbooks } = plan;
  if (!isText(version) || parseVersion(version) === null) return "The plan has no semantic version, like 1.0.0";
  if (!Array.isArray(triggers) || !triggers.every((trigger) => isFields(trigger) && isText(trigger["type"]))) {
    return "The plan's triggers are not a list of { type }";
  }
  if (!Array.isArray(pools)) return "The plan's pools are not a list";
  const parallel =
    typeof maxParallelTasks === "number" && Number.isSafeInteger(maxParallelTasks) ? maxParallelTasks : 0;
  if (parallel < 1 || parallel > MAX_PARALLEL_TASKS)
    return `The plan's maxParallelTasks is not a whole number from 1 to ${MAX_PARALLEL_TASKS}`;
  const isPlaybook = (value: unknown) => isFields(value) && isText(value["on"]) && Array.isArray(value["steps"]);
  if (!Array.isArray(playbooks) || !playbooks.every(isPlaybook))
    return "The plan's playbooks are not a list of { on, steps }";
  return pools.map(poolProblem).find((problem) => problem !== null) ?? null;
}

function poolProblem(pool: unknown): string | null {
  if (!isText(pool)) return "The plan's pools are not texts";
  try {
    checkAddress("router", routerId(pool));
    return null;
  } catch (error) {
    if (error instanceof AddressError) return error.message;
    throw error;
  }
}

/** Why the event cannot be taken, or null. */
export function eventProblem(event: unknown): string | null {
  if (!isFields(event)) return "The event is not an object";
  const { id, source, type, priority, device } = event;
  if (!isText(id) || !isText(source) || !isText(type)) return "The event needs the texts id, source and type";
  if (!isPriority(priority))
    return `The priority ${JSON.stringify(priority) ?? "undefined"} is not known: use critical, high, normal or low`;
  const isPlace = isFields(device) && isText(device["host"]) && isText(device["device"]);
  return device === null || isPlace ? null : "The device is neither null nor { host, device }";
}
