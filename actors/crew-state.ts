/**
 * What a crew knows, and the turn in which one message changes it. Invariant: a turn changes nothing outside itself; what it wants
 * sent leaves with the round that holds its message, or not at all.
 */
import type { Priority } from "../runtime/priority.ts";
import type { Load } from "./crew-scale.ts";
import type {
  Capability,
  CrewMessage,
  CrewPlan,
  Need,
  SubmitState,
  WorkEnded,
  WorkerMessage,
  WorkState,
} from "./messages/crew.ts";

/** Finished pieces of work that are remembered by their ids, so that one submitted again is not done again. */
export const ENDED_LIMIT = 256;
/** Decisions about its size that a crew shows. */
const DECISION_LIMIT = 20;
/** A crew's clock wakes it no sooner than this after the last time, in ms: many deadlines a moment apart cost one turn. */
export const TICK_MS = 50;

/** One who wants to hear how work ended. */
export interface Asker {
  /** Its own id of the work. */
  readonly id: string;
  /** `kind/id` of the actor; null: whoever reads the pool. */
  readonly to: string | null;
  readonly startByMs: number;
}

export interface Job {
  /** Its first asker's; what workers know it by. */
  readonly id: string;
  readonly data: unknown;
  readonly needs: readonly Need[];
  readonly priority: Priority;
  readonly acceptedAtMs: number;
  /** More than one only where equal work is joined. */
  readonly askers: readonly Asker[];
  /** Of the equal; null where nothing is joined. */
  readonly key: string | null;
  /** Whom it was given to, in turn; any of them may say how it ended. */
  readonly tried: readonly string[];
  readonly via: readonly string[];
  /** Room it takes. */
  readonly bytes: number;
}

export interface Run {
  readonly job: Job;
  readonly worker: string;
  readonly startedAtMs: number;
  /** Without an answer by then its worker is lost. */
  readonly dueAtMs: number;
}

export interface Member {
  /** `kind/id`. */
  readonly name: string;
  /** Of a hired one; null: it enlisted itself and is not scaled. */
  readonly number: number | null;
  /** Null until it has enlisted: it gets no work before. */
  readonly sinceMs: number | null;
  /** When it was asked first and last to enlist; of one that came by itself, when it came. */
  readonly hiredAtMs: number;
  readonly askedAtMs: number;
  readonly capabilities: readonly Capability[];
  /** Pieces of work at once. */
  readonly slots: number;
  readonly running: number;
  /** When it last got work, as a count. */
  readonly lastTurn: number;
  /** It gets no more work and goes with its last. */
  readonly isLeaving: boolean;
}

/** An answer kept for equal work to come. */
export interface Kept {
  readonly key: string;
  readonly untilMs: number;
  readonly ended: WorkEnded;
  readonly bytes: number;
}

export interface Decision {
  readonly atMs: number;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

export interface CrewContext {
  readonly id: string;
  readonly plan: CrewPlan | null;
  readonly members: readonly Member[];
  /** Waiting work, by priority, then by arrival, that some worker here could do. */
  readonly queue: readonly Job[];
  /** Waiting work that no worker here can do. */
  readonly unfit: readonly Job[];
  readonly running: readonly Run[];
  /** Latest last. */
  readonly ended: readonly (Pick<Asker, "id" | "to"> & { readonly state: WorkState })[];
  readonly kept: readonly Kept[];
  /** What hired workers said they can do; null: none has said yet. */
  readonly hiredCan: readonly Capability[] | null;
  /** Numbers of hired workers below it, and those in `lost`, are not given again. */
  readonly numbersFrom: number;
  readonly lost: readonly number[];
  readonly load: Load;
  /** When work was last turned away, or passed on, for want of a free worker; null: never. */
  readonly turnedAwayAtMs: number | null;
  readonly decisions: readonly Decision[];
  readonly counts: Readonly<Record<"accepted" | "assigned" | "lostWorkers" | WorkState, number>>;
  /** Bytes of waiting and running work. */
  readonly bytes: number;
  readonly turns: number;
  /** When its clock wakes it; null: never. */
  readonly tickAtMs: number | null;
}

export const newCrew = (id: string): CrewContext => ({
  id,
  plan: null,
  members: [],
  queue: [],
  unfit: [],
  running: [],
  ended: [],
  kept: [],
  hiredCan: null,
  numbersFrom: 0,
  lost: [],
  load: { overSinceMs: null, spareSinceMs: null },
  turnedAwayAtMs: null,
  decisions: [],
  counts: { accepted: 0, assigned: 0, lostWorkers: 0, done: 0, failed: 0, expired: 0, refused: 0, unknown: 0 },
  bytes: 0,
  turns: 0,
  tickAtMs: null,
});

export interface Send {
  readonly to: string;
  readonly event: CrewMessage | WorkerMessage;
}

/** One message being handled. */
export class Turn {
  context: CrewContext;
  readonly nowMs: number;
  readonly sends: Send[] = [];
  /** Ends that no actor waits for. */
  readonly news: WorkEnded[] = [];
  /** The earliest time that this turn wants to be woken at. */
  wakeAtMs: number | null;

  constructor(context: CrewContext, nowMs: number) {
    this.context = context;
    this.nowMs = nowMs;
    this.wakeAtMs = context.tickAtMs;
  }

  set(patch: Partial<CrewContext>): void {
    this.context = { ...this.context, ...patch };
  }

  send(to: string, event: Send["event"]): void {
    this.sends.push({ to, event });
  }

  count(what: keyof CrewContext["counts"], by = 1): void {
    const { counts } = this.context;
    this.set({ counts: { ...counts, [what]: counts[what] + by } });
  }

  wake(atMs: number): void {
    if (this.wakeAtMs === null || atMs < this.wakeAtMs) this.wakeAtMs = atMs;
  }

  decide(to: number, from: number, reason: string): void {
    const decision = { atMs: this.nowMs, from, to, reason };
    this.set({ decisions: [...this.context.decisions, decision].slice(-DECISION_LIMIT) });
  }

  /** Tells everyone who asked for the job how it ended, once. */
  end(job: Job, askers: readonly Asker[], state: WorkState, reason: string | null, result: unknown = null): void {
    for (const { id, to } of askers) {
      const ended: WorkEnded = { type: "work.ended", work: id, state, result, reason };
      if (to === null) this.news.push(ended);
      else this.send(to, ended);
    }
    this.count(state, askers.length);
    const gone = askers.map(({ id, to }) => ({ id, to, state }));
    this.set({ ended: [...this.context.ended, ...gone].slice(-ENDED_LIMIT) });
    if (askers.length === job.askers.length) this.set({ bytes: this.context.bytes - job.bytes });
  }
}

/** A piece of work by one of its askers' ids, wherever it is. */
export function findJob({ queue, unfit, running }: CrewContext, id: string): { job: Job; state: SubmitState } | null {
  // Without a key its one asker's id is its own.
  const isIt = (job: Job) => job.id === id || (job.key !== null && job.askers.some((asker) => asker.id === id));
  const waiting = queue.find(isIt);
  if (waiting !== undefined) return { job: waiting, state: "queued" };
  const stuck = unfit.find(isIt);
  if (stuck !== undefined) return { job: stuck, state: "unfit" };
  const run = running.find((each) => isIt(each.job));
  return run === undefined ? null : { job: run.job, state: "assigned" };
}
