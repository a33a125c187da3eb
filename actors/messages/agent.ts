/** What an agent follows and what it is told. Invariant: a plan is immutable; a change is a new version. */
import type { Priority } from "../../runtime/priority.ts";
import type { LabEvent } from "./event.ts";
import type { LockScope, Step, TaskFinished } from "./task.ts";

export type { Step } from "./task.ts";

export interface AgentTrigger {
  /** Exact or `prefix.*`. */
  readonly type: string;
  /** Overrides the event's own. */
  readonly priority?: Priority;
  /** Values that `event.data` must have, by dotted path. */
  readonly filters?: Readonly<Record<string, unknown>>;
}

export interface Playbook {
  /** Event type that starts it, exact or `prefix.*`. */
  readonly on: string;
  /** `event`: locks the device that the event is about. */
  readonly device: "event" | null;
  /** What its steps need for themselves. Default: the device, if it takes one. */
  readonly locks?: LockScope;
  readonly steps: readonly Step[];
  readonly lockTtlMs: number;
}

/** A definition, compiled to what the agent actor needs. */
export interface AgentPlan {
  readonly id: string;
  readonly version: string;
  readonly name: string;
  readonly goal: { readonly type: "continuous" | "on-demand"; readonly description: string };
  readonly triggers: readonly AgentTrigger[];
  readonly pools: readonly string[];
  readonly maxParallelTasks: number;
  readonly playbooks: readonly Playbook[];
}

export type AgentMessage =
  | { readonly type: "deploy"; readonly plan: AgentPlan }
  | { readonly type: "retire" }
  | { readonly type: "event"; readonly event: LabEvent }
  | TaskFinished;
