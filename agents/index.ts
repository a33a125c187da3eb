/** The face of `agents/`: what the gateway and the composition root need. */
export { AGENT_POOL, agentKind } from "./agent.ts";
export type { AgentContext, EndedTask, RunningTask, WaitingWork } from "./agent-state.ts";
export { type AgentDefinition, parseDefinition, type ParseOptions, type SkillFacts } from "./definition.ts";
export {
  AgentNotFoundError,
  DefinitionInvalidError,
  type Problem,
  SkillDefinitionError,
  VersionConflictError,
} from "./errors.ts";
export { planOf } from "./plan.ts";
export { MAX_DEFINITION_BYTES } from "./positions.ts";
export { AgentRegistry, type RegisteredAgent, type Registration } from "./registry.ts";
export { defineSkill, type Skill, SkillRegistry, type SkillRun } from "./skill.ts";
export { builtInSkills } from "./skills/built-in.ts";
