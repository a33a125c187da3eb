/** The face of `agents/`: what the gateway and the composition root need. */
export { agentKind } from "./agent.ts";
export { type AgentDefinition, parseDefinition } from "./definition.ts";
export {
  AgentNotFoundError,
  DefinitionInvalidError,
  type Problem,
  ProcessNotStartedError,
  SkillDefinitionError,
  VersionConflictError,
} from "./errors.ts";
export { type ProcessOptions, type ProcessResult, runProcess } from "./run-process.ts";
export { AgentRegistry, type RegisteredAgent, type Registration } from "./registry.ts";
export { defineSkill, type Skill, SkillRegistry, type SkillRun } from "./skill.ts";
export { builtInSkills } from "./skills/built-in.ts";
