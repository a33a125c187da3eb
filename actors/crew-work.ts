/**
 * The way of a piece of work through its crew. Invariant: what was accepted is in one place (waiting, unfit or running) until each
 * of its askers was told once how it ended; past its deadline it is never started.
 */
import { keyOf } from "../runtime/address.ts";
import { sizeOf } from "../runtime/codec.ts";
import { random } from "../runtime/transition-scope.ts";
import { choose, isFit, isFree } from "./crew-balance.ts";
import { join, keep, keyOfWork } from "./crew-equal.ts";
import { loseSilent, release, updateMember, wait } from "./crew-members.ts";
import { checkedEnd, workProblem } from "./crew-request.ts";
import { type Asker, findJob, type Job, type Turn } from "./crew-state.ts";
import {
  CREW_KIND,
  type CrewPlan,
  type CrewRefusal,
  type CrewReply,
  type Need,
  type SubmitState,
  type Work,
  type WorkEnded,
} from "./messages/crew.ts";

/** Bytes of waiting and running work of one crew, which is kept twice while it is sent: with the rest it fits one actor's state. */
export const CREW_BYTES = 128 * 1_024;
/** What a job adds to its data and needs, in bytes. */
const JOB_BYTES = 192;

const refused = (code: CrewRefusal, message: string): CrewReply => ({ ok: false, code, message });
const taken = (work: string, state: SubmitState): CrewReply => ({ ok: true, work, state });

/** Takes work, or says why not. `from` is the asking actor; null: a client, which the pool tells. */
export function submit(turn: Turn, given: unknown, from: string | null, plan: CrewPlan): CrewReply {
  const problem = workProblem(given);
  if (problem !== null) return refused("BAD_REQUEST", problem);
  const work = given as Work;
  const known = knownWork(turn, work.id, from);
  if (known !== null) return known;
  const spanMs = Math.min(work.deadlineMs ?? plan.deadlineMs, plan.deadlineMs);
  const asker: Asker = { id: work.id, to: from, startByMs: turn.nowMs + spanMs };
  const key = plan.assignment === "CONSOLIDATED" ? keyOfWork(work) : null;
  const joined = key === null ? null : join(turn, key, asker, plan);
  if (joined !== null) return joined;
  const made = makeJob(turn, work, asker, key);
  const bytes = turn.context.bytes + made.bytes;
  if (bytes > CREW_BYTES)
    return refused(
      "QUEUE_FULL",
      `Crew "${turn.context.id}" holds work of ${turn.context.bytes} bytes: try again later`,
    );
  const worker = choose(plan.balance, turn.context.members, made.needs, random);
  const place = worker === null ? placeFor(turn, made, plan) : null;
  if (place !== null && typeof place === "object") return place;
  turn.set({ bytes });
  turn.count("accepted");
  if (worker !== null) {
    start(turn, made, worker.name, plan);
    return taken(work.id, "assigned");
  }
  if (place === "delegate") {
    delegate(turn, made, plan);
    return taken(work.id, "delegated");
  }
  return taken(work.id, wait(turn, made));
}

/** What becomes of work that finds no free worker: it waits, is passed on, or is refused. */
function placeFor(turn: Turn, job: Job, plan: CrewPlan): "wait" | "delegate" | CrewReply {
  const { id, queue, unfit } = turn.context;
  if (plan.assignment === "DELEGATED") {
    return job.via.includes(keyOf(CREW_KIND, id))
      ? refused("DELEGATION_CYCLE", `Work "${job.id}" came back to crew "${id}" by way of ${job.via.join(", ")}`)
      : "delegate";
  }
  const isPossible = isFit(turn.context, job);
  if (!isPossible && (plan.whenUnfit === "REFUSE" || plan.assignment === "IMMEDIATE"))
    return refused("NO_FIT", `No worker of crew "${id}" can do ${needsText(job.needs)}`);
  if (plan.assignment === "IMMEDIATE")
    return refused("NO_FREE_WORKER", `All workers of crew "${id}" are busy: try again later`);
  return queue.length + unfit.length >= plan.queueLimit
    ? refused("QUEUE_FULL", `In crew "${id}" ${plan.queueLimit} pieces of work wait: try again later`)
    : "wait";
}

/** The answer to work that is here, or was; null: it is new. */
function knownWork(turn: Turn, id: string, from: string | null): CrewReply | null {
  const here = findJob(turn.context, id);
  const asker = here?.job.askers.find((each) => each.id === id) ?? turn.context.ended.find((each) => each.id === id);
  if (here === null && asker === undefined) return null;
  return asker?.to === from
    ? taken(id, here?.state ?? "known")
    : refused("ID_TAKEN", `Work "${id}" is another's: give yours an id of its own`);
}

function makeJob(turn: Turn, work: Work, asker: Asker, key: string | null): Job {
  const needs = work.needs ?? [];
  return {
    id: work.id,
    data: work.data,
    needs,
    priority: work.priority ?? "normal",
    acceptedAtMs: turn.nowMs,
    askers: [asker],
    key,
    tried: [],
    via: work.via ?? [],
    bytes: sizeOf([work.data, needs, key], "The work") + JOB_BYTES,
  };
}

/** Gives a job to a worker, unless nobody waits for it any more. */
function start(turn: Turn, job: Job, worker: string, plan: CrewPlan): void {
  const waiting = expire(turn, job);
  if (waiting === null) return;
  const { turns, running, members } = turn.context;
  const tried = [...job.tried, worker];
  const given = { ...waiting, tried };
  const run = { job: given, worker, startedAtMs: turn.nowMs, dueAtMs: turn.nowMs + plan.attemptMs };
  turn.set({ running: [...running, run], turns: turns + 1 });
  const busy = (members.find(({ name }) => name === worker)?.running ?? 0) + 1;
  updateMember(turn, worker, { running: busy, lastTurn: turns + 1 });
  turn.count("assigned");
  turn.wake(run.dueAtMs);
  const startByMs = Math.max(...waiting.askers.map((asker) => asker.startByMs));
  turn.send(worker, { type: "work", work: { id: job.id, data: job.data, attempt: tried.length, startByMs } });
}

function delegate(turn: Turn, job: Job, plan: CrewPlan): void {
  const to = plan.delegateTo ?? "";
  const { id, running } = turn.context;
  const startByMs = Math.max(...job.askers.map((asker) => asker.startByMs));
  // The other answers by then whatever happens to the work there, if its attempts take no longer than ours.
  const dueAtMs = startByMs + plan.attempts * plan.attemptMs;
  turn.set({
    running: [...running, { job: { ...job, tried: [...job.tried, to] }, worker: to, startedAtMs: turn.nowMs, dueAtMs }],
  });
  turn.wake(dueAtMs);
  const { needs, priority, data } = job;
  const via = [...job.via, keyOf(CREW_KIND, id)];
  turn.send(to, {
    type: "submit",
    work: { id: job.id, data, needs, priority, deadlineMs: startByMs - turn.nowMs, via },
  });
}

/** Gives waiting work to free workers, first come first served among those who fit. */
export function dispatch(turn: Turn, plan: CrewPlan): void {
  for (let at = 0; at < turn.context.queue.length && turn.context.members.some(isFree); ) {
    const job = turn.context.queue[at] as Job;
    const worker = choose(plan.balance, turn.context.members, job.needs, random);
    if (worker === null) {
      at++;
      continue;
    }
    turn.set({ queue: turn.context.queue.filter((other) => other !== job) });
    start(turn, job, worker.name, plan);
  }
}

/** Ends the askers of waiting work whose deadline is past; the job with those who still wait, or null. */
function expire(turn: Turn, job: Job): Job | null {
  const late = job.askers.filter(({ startByMs }) => startByMs <= turn.nowMs);
  if (late.length === 0) return job;
  const why = isFit(turn.context, job) ? "no worker was free" : `no worker can do ${needsText(job.needs)}`;
  if (job.tried.length > 0)
    turn.end(job, late, "unknown", "Its worker was lost, and its deadline passed before another was free");
  else turn.end(job, late, "expired", `Its deadline passed before it started: ${why}`);
  const left = job.askers.filter(({ startByMs }) => startByMs > turn.nowMs);
  return left.length === 0 ? null : { ...job, askers: left };
}

/** Who answers for a piece of work: the worker it was given to last, or one that was thought lost. The first answer counts. */
export function workEnded(turn: Turn, from: string, given: WorkEnded, plan: CrewPlan): void {
  const ended = checkedEnd(given);
  const { running, queue, unfit } = turn.context;
  const isIt = (job: Job) => job.id === ended.work && job.tried.includes(from);
  const run = running.find(({ job }) => isIt(job));
  const job = run?.job ?? queue.find(isIt) ?? unfit.find(isIt);
  if (job === undefined) return;
  if (run === undefined) {
    turn.set({ queue: queue.filter((other) => other !== job), unfit: unfit.filter((other) => other !== job) });
  } else {
    turn.set({ running: running.filter((other) => other !== run) });
    release(turn, run.worker);
    if (run.worker !== from) turn.send(run.worker, { type: "stop", work: job.id });
  }
  turn.end(job, job.askers, ended.state, ended.reason, ended.result);
  if (job.key !== null && ended.state === "done") keep(turn, job.key, job.acceptedAtMs + plan.consolidateMs, ended);
}

/** What time alone changes: deadlines, silent workers, answers kept. Asks to be woken for the next. */
export function passTime(turn: Turn): void {
  for (const place of ["queue", "unfit"] as const) {
    const before = turn.context[place];
    const left = before.map((job) => expire(turn, job)).filter((job) => job !== null);
    if (left.length !== before.length || left.some((job, i) => job !== before[i])) turn.set({ [place]: left });
    for (const { askers } of left) for (const { startByMs } of askers) turn.wake(startByMs);
  }
  for (const { job, worker, dueAtMs } of turn.context.running) {
    if (dueAtMs > turn.nowMs) turn.wake(dueAtMs);
    else giveUp(turn, job, worker);
  }
  const kept = turn.context.kept.filter(({ untilMs }) => untilMs > turn.nowMs);
  if (kept.length < turn.context.kept.length) turn.set({ kept });
  for (const { untilMs } of kept) turn.wake(untilMs);
}

function giveUp(turn: Turn, job: Job, worker: string): void {
  if (!turn.context.running.some((run) => run.job === job)) return; // lost with its worker just now
  const reason = `"${worker}" gave no answer in time`;
  if (turn.context.members.some(({ name }) => name === worker)) return loseSilent(turn, worker, reason);
  turn.set({ running: turn.context.running.filter((run) => run.job !== job) });
  turn.end(job, job.askers, "unknown", reason);
}

/** Ends all that waits: the crew is over. */
export function giveUpWaiting(turn: Turn): void {
  const { queue, unfit } = turn.context;
  turn.set({ queue: [], unfit: [] });
  for (const job of [...queue, ...unfit])
    turn.end(job, job.askers, job.tried.length > 0 ? "unknown" : "refused", "The crew was retired");
}

const needsText = (needs: readonly Need[]): string =>
  needs.map(({ name, version = "*" }) => `${name}@${version}`).join(", ") || "anything, as it has none";
