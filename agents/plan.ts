/** A definition compiled to what the agent actor needs. Invariant: the same definition gives the same plan. */
import type { AgentPlan, AgentTrigger, Playbook, Step } from "../actors/messages/agent.ts";
import type { AgentDefinition, PlaybookDefinition, SkillFacts, StepDefinition } from "./definition.ts";
import { DEFAULT_TASK_TIMEOUT_S } from "./definition-schema.ts";
import { scopeOf } from "./lock-scope.ts";
import { parseDuration } from "./duration.ts";

/** Attempts after the first one of a step that does not say, in an agent with `auto_retry`. */
const AUTO_RETRIES = 1;
/** Marks a step's skill that is a NATS service: `nats:<name>`. */
export const NATS_SKILL_PREFIX = "nats:";

/** What this layer adds to the plan's contract. */
export interface TimedPlan extends AgentPlan {
  /** A task that runs longer is aborted, in ms. */
  readonly taskTimeoutMs: number;
}

/** The plan's limit for a task, in ms; plans of others may have none. */
export const taskTimeoutOf = (plan: AgentPlan): number =>
  (plan as Partial<TimedPlan>).taskTimeoutMs ?? DEFAULT_TASK_TIMEOUT_S * 1_000;

/** Compiles `definition`. `skills` are those that exist in code: they know whether they need a device. */
export function planOf(definition: AgentDefinition, skills: ReadonlyMap<string, SkillFacts>): TimedPlan {
  const { metadata, goal, triggers, config } = definition;
  return {
    id: metadata.id,
    version: metadata.version,
    name: metadata.name,
    goal: { type: goal.type, description: goal.description },
    triggers: triggers.events.map(triggerOf),
    pools: triggers.event_pools,
    maxParallelTasks: config.max_parallel_tasks,
    taskTimeoutMs: config.timeout_seconds * 1_000,
    playbooks: definition.playbook.map((playbook) => playbookOf(definition, playbook, skills)),
  };
}

const triggerOf = (trigger: AgentDefinition["triggers"]["events"][number]): AgentTrigger => ({
  type: trigger.type,
  ...(trigger.priority === undefined ? {} : { priority: trigger.priority }),
  ...(trigger.filters === undefined ? {} : { filters: trigger.filters }),
});

const playbookOf = (
  definition: AgentDefinition,
  playbook: PlaybookDefinition,
  skills: ReadonlyMap<string, SkillFacts>,
): Playbook => ({
  on: playbook.on,
  device: playbook.device === "event" ? "event" : null,
  steps: playbook.steps.map((step) => stepOf(definition, step, skills)),
  lockTtlMs: msOf(playbook.lock_ttl),
  ...locksOf(definition, playbook, skills),
});

/** Said only if a skill says so: a playbook of steps that only read locks nothing, one that changes a tree locks that. */
function locksOf(
  definition: AgentDefinition,
  playbook: PlaybookDefinition,
  skills: ReadonlyMap<string, SkillFacts>,
): Pick<Playbook, "locks"> {
  const scopes = playbook.steps.flatMap(({ skill }) => scopeOf(definition.skills, skill, skills) ?? []);
  const locks = scopes.find((scope) => scope !== "none") ?? scopes[0];
  return locks === undefined || locks === "device" ? {} : { locks };
}

function stepOf(definition: AgentDefinition, step: StepDefinition, skills: ReadonlyMap<string, SkillFacts>): Step {
  const declared = definition.skills.find((skill) => skill.id === step.skill);
  const nats = declared?.nats;
  return {
    id: step.id,
    skill: nats === undefined ? step.skill : `${NATS_SKILL_PREFIX}${nats}`,
    with: step.with,
    timeoutMs: msOf(step.timeout),
    retries: step.retries ?? (definition.config.auto_retry ? AUTO_RETRIES : 0),
    needsDevice:
      declared?.needs_device === true || (nats === undefined && skills.get(step.skill)?.needsDevice === true),
  };
}

/** A checked definition holds only durations that parse. */
const msOf = (text: string): number => parseDuration(text) ?? Number.NaN;
