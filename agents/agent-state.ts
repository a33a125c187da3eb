/** What an agent remembers. Invariant: plain data, and every list in it is bounded. */
import type { AgentPlan } from "../actors/messages/agent.ts";
import type { DevicePlace, LabEvent } from "../actors/messages/event.ts";
import type { TaskOutcome } from "../actors/messages/task.ts";
import type { Priority } from "../runtime/priority.ts";

/** Events remembered to tell duplicates: deliveries of one event lie within far fewer. Beyond, the oldest is forgotten. */
export const SEEN_LIMIT = 500;
/** Bytes of what {@link SEEN_LIMIT} bounds, for sources with long names. At it the oldest is forgotten. */
export const SEEN_BYTES = 64 * 1_024;
/**
 * Bytes of waiting events as they are stored, some 250 ordinary alerts: with the plan, the window and the tasks they fit
 * the runtime's largest state. At it the least urgent, latest one is dropped, loudly.
 */
export const QUEUE_BYTES = 192 * 1_024;
/** Ended tasks remembered; all of them are in the history. */
export const RECENT_LIMIT = 50;

/** Work that waits for a free place, or for the end of the task that deals with the same alert. */
export interface WaitingWork {
  readonly event: LabEvent;
  readonly trigger: string;
  readonly priority: Priority;
  readonly sinceMs: number;
  /** When the last alert came that it stands for. */
  readonly lastMs: number;
  /** Further alerts of the same kind from the same device meanwhile. */
  readonly attached: number;
  readonly bytes: number;
}

export interface RunningTask {
  readonly task: string;
  readonly trigger: string;
  readonly priority: Priority;
  readonly event: { readonly source: string; readonly id: string; readonly type: string };
  readonly device: DevicePlace | null;
  readonly startedAtMs: number;
  readonly attached: number;
}

export interface EndedTask {
  readonly task: string;
  readonly trigger: string;
  readonly state: TaskOutcome;
  readonly reason: string | null;
  readonly endedAtMs: number;
}

export interface AgentCounts {
  /** Events that were delivered, duplicates included. */
  readonly events: number;
  readonly duplicates: number;
  /** Taken by no trigger or playbook. */
  readonly ignored: number;
  readonly attached: number;
  readonly dropped: number;
  readonly started: number;
  readonly ended: Readonly<Record<TaskOutcome, number>>;
}

export interface AgentContext {
  readonly id: string;
  readonly plan: AgentPlan | null;
  readonly running: readonly RunningTask[];
  readonly waiting: readonly WaitingWork[];
  readonly seen: readonly string[];
  readonly recent: readonly EndedTask[];
  readonly counts: AgentCounts;
}

export const newAgent = (id: string): AgentContext => ({
  id,
  plan: null,
  running: [],
  waiting: [],
  seen: [],
  recent: [],
  counts: {
    events: 0,
    duplicates: 0,
    ignored: 0,
    attached: 0,
    dropped: 0,
    started: 0,
    ended: { succeeded: 0, failed: 0, unknown: 0, aborted: 0 },
  },
});
