/** Commands to a task and what it reports. Invariant: a task that ends `succeeded` has evidence of it. */
import type { Priority } from "../../runtime/priority.ts";
import type { DevicePlace, LabEvent } from "./event.ts";
import type { ResourceFact } from "./resource.ts";

/**
 * What a skill needs for itself: a device that it drives, a navigation tree or a user interface that it changes, or nothing that
 * others could want (it only reads, and never waits in a line).
 */
export const LOCK_SCOPES = ["device", "tree", "userinterface", "none"] as const;
export type LockScope = (typeof LOCK_SCOPES)[number];

/** One step of a playbook. */
export interface Step {
  readonly id: string;
  readonly skill: string;
  /** Arguments; texts may hold `${event.data.x}` and `${steps.<id>.output.y}`. */
  readonly with: Readonly<Record<string, unknown>>;
  /** One try at most, in ms. */
  readonly timeoutMs: number;
  /** Further tries after one that failed or gave no answer. */
  readonly retries: number;
  readonly needsDevice: boolean;
}

/** What a skill is called with. `token` fences the device: a driver refuses any smaller than the largest it saw. */
export interface SkillCall {
  readonly skill: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly device: DevicePlace | null;
  readonly token: number | null;
  /** The lock that the task holds, whatever it is of. A service that changes it refuses smaller tokens than it saw. */
  readonly fence: { readonly resource: string; readonly token: number } | null;
  readonly task: string;
  readonly step: string;
  /** 1 for the first. A new one is begun only when the step was answered "failed". */
  readonly attempt: number;
  /** The idempotency key: one for each attempt, however often it is asked. */
  readonly invocationId: string;
  /** When this try's time is up, in ms since 1970. */
  readonly deadlineAtMs: number;
}

/** Something that shows what was done or seen. */
export interface Evidence {
  readonly kind: string;
  /** When, in ms since 1970. */
  readonly at: number;
  /** Where the artifact is. */
  readonly ref?: string;
  readonly data?: unknown;
}

/** An answer. "failed": try anew; "unknown": ask again under the same key. One that throws has not answered: "unknown". */
export interface SkillResult {
  readonly status: "succeeded" | "failed" | "unknown";
  readonly output?: unknown;
  readonly evidence?: readonly Evidence[];
  readonly message?: string;
}

/** How a skill is run: injected into the task kind by the layer above. */
export type RunSkill = (call: SkillCall, signal: AbortSignal) => Promise<SkillResult>;

/** What a task may have left at work when it is to let its lock go. */
export interface StopCall {
  readonly task: string;
  /** The device whose lock it holds, and its token; null: it holds no device. */
  readonly driven: { readonly device: DevicePlace; readonly token: number } | null;
  /** The last attempt, unless it was answered. */
  readonly attempt: { readonly skill: string; readonly invocationId: string } | null;
}

/** Stops it all. True: everybody who may work on it said that nothing of it runs any more; injected as {@link RunSkill} is. */
export type StopSkill = (call: StopCall, signal: AbortSignal) => Promise<boolean>;

export interface TaskSpec {
  readonly agent: string;
  readonly agentVersion: string;
  /** Event type of the playbook that started it. */
  readonly trigger: string;
  readonly event: LabEvent;
  /** What it is about; null if it needs none. */
  readonly device: DevicePlace | null;
  /** Resource that is held for the whole task; null: nothing is. Default: the device. */
  readonly lock?: string | null;
  readonly priority: Priority;
  readonly steps: readonly Step[];
  readonly lockTtlMs: number;
}

export type TaskOutcome = "succeeded" | "failed" | "unknown" | "aborted";
export type StepStatus = "pending" | "running" | "succeeded" | "failed" | "unknown" | "skipped";

export interface StepRecord {
  readonly id: string;
  readonly skill: string;
  readonly status: StepStatus;
  /** Attempts begun. */
  readonly attempt: number;
  /** How often its skill was called: an attempt without an answer is tried again. */
  readonly tries: number;
  readonly startedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly output: unknown;
  readonly evidence: readonly Evidence[];
  readonly error: string | null;
}

/** What an agent is told when its task has ended. */
export interface TaskFinished {
  readonly type: "task.finished";
  readonly task: string;
  readonly state: TaskOutcome;
  readonly reason: string | null;
  readonly trigger: string;
  /** When it last began to deal with its device; null: it never did. */
  readonly lastLookAtMs: number | null;
}

export type TaskMessage =
  | { readonly type: "start"; readonly task: TaskSpec }
  | { readonly type: "abort"; readonly reason: string }
  /** The task's own timer: time to renew its lock. */
  | { readonly type: "lock.renew" }
  | ResourceFact;

export const RESULT_POOL = "shared.results";
