/**
 * What is said to a crew and by it: a crew takes work and has its workers do it. Invariant: whoever asked for accepted work is
 * told exactly once how it ended, by {@link WorkEnded}.
 */
import type { Priority } from "../../runtime/priority.ts";

export const CREW_KIND = "crew";

/** Who among the free workers that can do a piece of work gets it. */
export const BALANCES = ["ROUND_ROBIN", "LEAST_BUSY", "RANDOM", "CAPABILITY_AWARE"] as const;
export type Balance = (typeof BALANCES)[number];

/** What happens to work that finds no free worker: refused, in line, passed on, in line and joined with its equals. */
export const ASSIGNMENTS = ["IMMEDIATE", "QUEUED", "DELEGATED", "CONSOLIDATED"] as const;
export type Assignment = (typeof ASSIGNMENTS)[number];

/** What a worker can do, and in which version. */
export interface Capability {
  readonly name: string;
  readonly version: string;
}

/** What work needs of its worker; `version` is a range such as `^1.2.0`, none takes any. */
export interface Need {
  readonly name: string;
  readonly version?: string;
}

/** How a crew works. Fields that have a default may be left out of {@link CrewMessage} `declare`. */
export interface CrewPlan {
  /** Kind of the workers that the crew hires, `<worker>/<crew>:<n>`; null: only those who enlist themselves. */
  readonly worker: string | null;
  /** Hired workers, at least and at most. */
  readonly min: number;
  readonly max: number;
  readonly balance: Balance;
  readonly assignment: Assignment;
  /** Address (`kind/id`) that takes `submit` as a crew does, for DELEGATED; else null. */
  readonly delegateTo: string | null;
  /** What happens to work that no worker can do. */
  readonly whenUnfit: "QUEUE" | "REFUSE";
  /** Pieces of work that wait at most; further ones are refused. */
  readonly queueLimit: number;
  /** Work that has not started this long after it was accepted never starts, in ms. A piece may say less. */
  readonly deadlineMs: number;
  /** A worker that does not answer for this long is lost, and its work given to another, in ms. */
  readonly attemptMs: number;
  /** Workers that a piece of work is given to at most. */
  readonly attempts: number;
  /** CONSOLIDATED: equal work submitted within this of the first is done once, in ms. */
  readonly consolidateMs: number;
  /** More waiting work than this for each hired worker … */
  readonly backlogPerWorker: number;
  /** … for this long, in ms, and more are hired. */
  readonly growAfterMs: number;
  /** A worker's worth of free hands for this long, in ms, and one is let go. */
  readonly shrinkAfterMs: number;
}

export interface Work {
  /** The asker's own, an id as of actors. Submitted again under it, it is still done once. */
  readonly id: string;
  readonly data: unknown;
  readonly needs?: readonly Need[];
  readonly priority?: Priority;
  /** At most the plan's. */
  readonly deadlineMs?: number;
  /** CONSOLIDATED: work of one key is equal. Default: the data as JSON. */
  readonly key?: string;
  /** Crews that passed it on. */
  readonly via?: readonly string[];
}

/**
 * `refused`: not accepted, or given up before it started. `expired`: its deadline passed before it started. `unknown`: it was
 * started and nobody knows how it ended.
 */
export const WORK_STATES = ["done", "failed", "expired", "refused", "unknown"] as const;
export type WorkState = (typeof WORK_STATES)[number];

/** How work ended: from a worker to its crew, and from the crew to the actor that asked. */
export interface WorkEnded {
  readonly type: "work.ended";
  readonly work: string;
  readonly state: WorkState;
  readonly result: unknown;
  readonly reason: string | null;
}

export type CrewMessage =
  | { readonly type: "declare"; readonly plan: Partial<CrewPlan> & Pick<CrewPlan, "worker"> }
  | { readonly type: "submit"; readonly work: Work }
  /** From a worker: here I am. One that was not hired stays until it leaves. */
  | { readonly type: "enlist"; readonly capabilities: readonly Capability[]; readonly slots: number }
  | { readonly type: "leave" }
  | WorkEnded
  /** From a worker that supervision has stopped. */
  | { readonly type: "actor.failed"; readonly kind: string; readonly id: string; readonly reason: string }
  /** Waiting work is given up; what runs is finished; then the crew is empty. */
  | { readonly type: "retire" }
  /** Its own clock. */
  | { readonly type: "tick" };

/** What a worker is told. Whoever takes these and answers with `enlist` and {@link WorkEnded} is one. */
export type WorkerMessage =
  /** Enlist with `crew/<crew>`. */
  | { readonly type: "hire"; readonly crew: string }
  /** Not to be started after `startByMs`. `id` is the same in each attempt. */
  | {
      readonly type: "work";
      readonly work: Pick<Work, "id" | "data"> & { readonly attempt: number; readonly startByMs: number };
    }
  /** The work was given to another: stop, and say nothing. */
  | { readonly type: "stop"; readonly work: string };

/** Where the end of work is published that no actor asked for. */
export const WORK_POOL = "shared.results";

export type SubmitState = "assigned" | "queued" | "unfit" | "delegated" | "joined" | "known";
export type CrewReply =
  | { readonly ok: true; readonly work: string; readonly state: SubmitState }
  | { readonly ok: false; readonly code: CrewRefusal; readonly message: string };
export type CrewRefusal =
  | "BAD_REQUEST"
  | "ID_TAKEN"
  | "NO_FREE_WORKER"
  | "NO_FIT"
  | "NO_CREW"
  | "QUEUE_FULL"
  | "DELEGATION_CYCLE";
