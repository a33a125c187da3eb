/** The face of the package: durable XState actors on NATS. Invariant: what is not exported here may change in any release. */
export { type EmbeddedServer, startEmbeddedServer } from "./nats-config/embedded-server.ts";
export { type Address, keyOf, shardOf } from "./runtime/address.ts";
export type {
  ActorStatus,
  ActorView,
  Audit,
  CallOptions,
  Client,
  DeadLetter,
  HistoryEntry,
  ListedActor,
  Node,
  NodeFilter,
  NodeInfo,
  NodeState,
  RetryOptions,
  QueryOptions,
} from "./runtime/api.ts";
export { type PoolEvent, publish, ref, reply } from "./runtime/author.ts";
export { connect, type ConnectOptions } from "./runtime/client.ts";
export {
  type ActorKind,
  type ActorOptions,
  defineActor,
  type EventOf,
  SINGLETON_ID,
  type Supervision,
} from "./runtime/define-actor.ts";
export * from "./runtime/errors.ts";
export type { PlacementCandidate, PlacementReport } from "./runtime/explain.ts";
export { type Placement, type Role, ROLES, type Shard } from "./runtime/families.ts";
export { fencingToken } from "./runtime/invocation-scope.ts";
export { type HistoryInput, readHistory } from "./runtime/history.ts";
export { startNode } from "./runtime/node.ts";
export type { NodeOptions } from "./runtime/node-options.ts";
export { PRIORITIES, type Priority } from "./runtime/priority.ts";
export {
  compareReplay,
  type Divergence,
  type Replay,
  replayHistory,
  type ReplayStep,
  verifyReplay,
} from "./runtime/replay.ts";
export { now, random, self, sender, uniqueId } from "./runtime/transition-scope.ts";
export {
  agentKind,
  AgentRegistry,
  type AgentDefinition,
  AgentNotFoundError,
  builtInSkills,
  DefinitionInvalidError,
  defineSkill,
  parseDefinition,
  type Problem,
  ProcessNotStartedError,
  type ProcessOptions,
  type ProcessResult,
  type Registration,
  runProcess,
  type Skill,
  SkillDefinitionError,
  SkillRegistry,
  type SkillRun,
  VersionConflictError,
} from "./agents/index.ts";
export {
  crewKind,
  crewWorker,
  type CrewWorkerOptions,
  leaseWriter,
  startPumps,
  systemKinds,
  type WorkCall,
} from "./actors/index.ts";
export type { Capability, CrewPlan, CrewReply, Need, Work, WorkEnded } from "./actors/messages/crew.ts";
export { type ComposedNode, composeNode, type ComposeOptions } from "./gateway/compose-node.ts";
