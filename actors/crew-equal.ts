/**
 * Equal work is done once. Invariant: who joins is answered by what was done for the first, and only within the window that the
 * plan gives; a deadline stays each asker's own.
 */
import { sizeOf } from "../runtime/codec.ts";
import type { Asker, Job, Turn } from "./crew-state.ts";
import type { CrewPlan, CrewReply, Work, WorkEnded } from "./messages/crew.ts";

/** Bytes of answers kept for equal work. The oldest go first. */
const KEPT_BYTES = 64 * 1_024;
/** Askers of equal work at most; further equal work is done for itself. */
const ASKER_LIMIT = 256;

/** What tells equal work: its key, else its data and needs, whatever the order of their fields. */
export const keyOfWork = ({ key, data, needs = [] }: Work): string =>
  key === undefined ? JSON.stringify([data, needs], sorted) : `=${key}`;

const sorted = (_: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** Joins equal work that came within the window, also if that has been answered since. */
export function join(turn: Turn, key: string, asker: Asker, plan: CrewPlan): CrewReply | null {
  const { kept, queue, unfit, running } = turn.context;
  const { nowMs } = turn;
  const answered = kept.find((each) => each.key === key && each.untilMs > nowMs);
  const add = (job: Job): Job => ({ ...job, askers: [...job.askers, asker] });
  const isEqual = (job: Job) =>
    job.key === key && job.acceptedAtMs + plan.consolidateMs > nowMs && job.askers.length < ASKER_LIMIT;
  if (answered !== undefined) {
    turn.count("accepted");
    const { state, reason, result } = answered.ended;
    turn.end({ ...NO_JOB, askers: [asker] }, [asker], state, reason, result);
    return { ok: true, work: asker.id, state: "joined" };
  }
  if (queue.some(isEqual)) turn.set({ queue: queue.map((job) => (isEqual(job) ? add(job) : job)) });
  else if (unfit.some(isEqual)) turn.set({ unfit: unfit.map((job) => (isEqual(job) ? add(job) : job)) });
  else if (running.some(({ job }) => isEqual(job)))
    turn.set({ running: running.map((run) => (isEqual(run.job) ? { ...run, job: add(run.job) } : run)) });
  else return null;
  turn.count("accepted");
  turn.wake(asker.startByMs);
  return { ok: true, work: asker.id, state: "joined" };
}

/** Stands for the job of an asker who came after it had ended: it takes no room any more. */
const NO_JOB: Job = {
  id: "",
  data: null,
  needs: [],
  priority: "normal",
  acceptedAtMs: 0,
  askers: [],
  key: null,
  tried: [],
  via: [],
  bytes: 0,
};

/** Keeps an answer for equal work to come. */
export function keep(turn: Turn, key: string, untilMs: number, ended: WorkEnded): void {
  if (untilMs <= turn.nowMs) return;
  const bytes = sizeOf([key, ended], "The answer");
  const kept = [...turn.context.kept.filter((each) => each.untilMs > turn.nowMs), { key, untilMs, ended, bytes }];
  while (kept.reduce((sum, each) => sum + each.bytes, 0) > KEPT_BYTES) kept.shift();
  turn.set({ kept });
  turn.wake(untilMs);
}
