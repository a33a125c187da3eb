/**
 * A crew's workers: hired, enlisted, let go, lost. Invariant: hired workers are min to max; one that is lost takes no work with it:
 * what it had waits again, under the same id, until its attempts are used up.
 */
import { keyOf } from "../runtime/address.ts";
import { sizeOf } from "../runtime/codec.ts";
import { isFit } from "./crew-balance.ts";
import { scale } from "./crew-scale.ts";
import type { Job, Member, Run, Turn } from "./crew-state.ts";
import type { Capability, CrewMessage } from "./messages/crew.ts";
import { priorityRank } from "../runtime/priority.ts";
import { parseVersion } from "./version.ts";

/** Things that one worker can do at most. */
export const CAPABILITY_LIMIT = 32;
/** Pieces of work that a worker does at once at most: an actor runs no more invocations. */
export const SLOT_LIMIT = 128;
/** Workers that enlisted themselves at most, beside the hired ones. */
const STANDING_LIMIT = 200;
/** A hired worker that has not enlisted by then is asked again, in ms, then ever more rarely: its kind's nodes may come up. */
const HIRE_AGAIN_MIN_MS = 5_000;
const HIRE_AGAIN_MAX_MS = 300_000;
/** The one that is asked while no hired worker is there: what waits, waits no longer once somebody hosts them. */
const SCOUT_MAX_MS = 30_000;
/** Bytes of what all workers of a crew say they can do: with the work it fits one actor's state. */
const CAN_BYTES = 64 * 1_024;
/** Numbers of lost workers that are kept apart; then counting goes on above them. */
const LOST_LIMIT = 32;

const NAME = /^[A-Za-z0-9_.:@=+~-]{1,64}$/;

const hiredOf = (turn: Turn): Member[] =>
  turn.context.members.filter(({ number, isLeaving }) => number !== null && !isLeaving);

export function updateMember(turn: Turn, name: string, patch: Partial<Member>): void {
  turn.set({
    members: turn.context.members.map((member) => (member.name === name ? { ...member, ...patch } : member)),
  });
}

function dropMember(turn: Turn, name: string): void {
  turn.set({ members: turn.context.members.filter((member) => member.name !== name) });
}

/** Puts a job where it waits: behind its priority's, before those that came later. */
export function wait(turn: Turn, job: Job): "queued" | "unfit" {
  const place = isFit(turn.context, job) ? "queue" : "unfit";
  const line = turn.context[place];
  const rank = priorityRank(job.priority);
  const isBehind = (other: Job) =>
    priorityRank(other.priority) > rank || (other.priority === job.priority && other.acceptedAtMs > job.acceptedAtMs);
  const last = line.at(-1);
  const at = last === undefined || !isBehind(last) ? line.length : line.findIndex(isBehind);
  turn.set({ [place]: [...line.slice(0, at), job, ...line.slice(at)] });
  for (const { startByMs } of job.askers) turn.wake(startByMs);
  return place === "queue" ? "queued" : "unfit";
}

/** Sorts waiting work anew after who can do what has changed. */
function sortAnew(turn: Turn): void {
  const { queue, unfit } = turn.context;
  const moved = [
    ...queue.filter((job) => !isFit(turn.context, job)),
    ...unfit.filter((job) => isFit(turn.context, job)),
  ];
  if (moved.length === 0) return;
  const stays = (job: Job) => !moved.includes(job);
  turn.set({ queue: queue.filter(stays), unfit: unfit.filter(stays) });
  for (const job of moved) wait(turn, job);
}

/** Hires up to `count` more: first those who are on their way out. */
function hire(turn: Turn, count: number): void {
  const { id } = turn.context;
  const worker = turn.context.plan?.worker ?? null;
  if (worker === null) return;
  for (let left = count; left > 0; left--) {
    const leaving = turn.context.members.find(
      (member) => member.isLeaving && member.name === keyOf(worker, `${id}:${member.number}`),
    );
    if (leaving !== undefined) {
      updateMember(turn, leaving.name, { isLeaving: false });
      continue;
    }
    const number = freeNumber(turn);
    const member: Member = {
      name: keyOf(worker, `${id}:${number}`),
      number,
      sinceMs: null,
      hiredAtMs: turn.nowMs,
      askedAtMs: turn.nowMs,
      capabilities: [],
      slots: 1,
      running: 0,
      lastTurn: 0,
      isLeaving: false,
    };
    turn.set({ members: [...turn.context.members, member] });
    turn.send(member.name, { type: "hire", crew: id });
    turn.wake(askAgainAtMs(member));
  }
}

const askAgainAtMs = ({ hiredAtMs, askedAtMs }: Member, maxMs = HIRE_AGAIN_MAX_MS): number =>
  askedAtMs + Math.min(maxMs, Math.max(HIRE_AGAIN_MIN_MS, askedAtMs - hiredAtMs));

function freeNumber({ context: { members, numbersFrom, lost } }: Turn): number {
  const taken = new Set([...lost, ...members.map(({ number }) => number)]);
  let number = numbersFrom;
  while (taken.has(number)) number++;
  return number;
}

/** Lets go whoever of the hired has least to do; it finishes that. */
function letGo(turn: Turn): void {
  const [first, ...others] = hiredOf(turn);
  if (first === undefined) return;
  const least = others.reduce((best, member) => (member.running <= best.running ? member : best), first);
  if (least.running === 0) dropMember(turn, least.name);
  else updateMember(turn, least.name, { isLeaving: true });
}

/** Brings the crew's size within the plan and on, if the load says so for long enough. */
export function resize(turn: Turn): void {
  const { plan, queue, turnedAwayAtMs } = turn.context;
  if (plan === null || plan.worker === null) return;
  const hired = hiredOf(turn);
  const bounded = Math.min(plan.max, Math.max(plan.min, hired.length));
  if (bounded !== hired.length) {
    for (let i = hired.length; i > bounded; i--) letGo(turn);
    hire(turn, bounded - hired.length);
    turn.decide(bounded, hired.length, bounded > hired.length ? "below min" : "above max");
    return;
  }
  const slots = hired.reduce((sum, member) => sum + member.slots, 0);
  const running = hired.reduce((sum, member) => sum + member.running, 0);
  const isSpare = queue.length === 0 && running <= slots - Math.max(0, ...hired.map((member) => member.slots));
  const isTurningAway = turnedAwayAtMs !== null && turn.nowMs - turnedAwayAtMs < plan.growAfterMs;
  const seen = { nowMs: turn.nowMs, backlog: queue.length, hired: hired.length, isTurningAway, isSpare };
  const { load, change, againAtMs } = scale(turn.context.load, seen, plan);
  if (load.overSinceMs !== turn.context.load.overSinceMs || load.spareSinceMs !== turn.context.load.spareSinceMs)
    turn.set({ load });
  if (againAtMs !== null) turn.wake(againAtMs);
  if (change === 0 || (change > 0 && hired.length > 0 && isScouting(turn))) return;
  if (change > 0) hire(turn, change);
  else letGo(turn);
  turn.decide(
    hired.length + change,
    hired.length,
    change > 0
      ? `${isTurningAway ? "work turned away" : `${queue.length} waiting`} for ${plan.growAfterMs} ms`
      : `one spare for ${plan.shrinkAfterMs} ms`,
  );
}

/** Takes a worker in, hired or not. Returns why not, or null. */
export function enlist(turn: Turn, from: string, event: CrewMessage & { type: "enlist" }): string | null {
  const { members, plan } = turn.context;
  const known = members.find(({ name }) => name === from);
  const problem = enlistProblem(event);
  if (problem !== null) return problem;
  const others = members.filter(({ name }) => name !== from).map((member) => member.capabilities);
  if (sizeOf([...others, event.capabilities], "The capabilities") > CAN_BYTES)
    return `What the crew's workers can do takes more than ${CAN_BYTES} bytes: give fewer or shorter capabilities`;
  const { slots } = event;
  const capabilities = event.capabilities.map(({ name, version }) => ({ name, version }));
  if (known === undefined) {
    if (plan?.worker !== undefined && plan.worker !== null && from.startsWith(`${plan.worker}/${turn.context.id}:`))
      return "It was let go meanwhile";
    if (members.filter(({ number }) => number === null).length >= STANDING_LIMIT)
      return `The crew has ${STANDING_LIMIT} workers that it did not hire: spread it over shards`;
    const times = { sinceMs: turn.nowMs, hiredAtMs: turn.nowMs, askedAtMs: turn.nowMs };
    const own = { name: from, number: null, running: 0, lastTurn: 0, isLeaving: false };
    turn.set({ members: [...members, { ...own, ...times, capabilities, slots }] });
  } else {
    if (known.number !== null && isScouting(turn)) for (const { askedAtMs } of members) turn.wake(askedAtMs);
    updateMember(turn, from, { sinceMs: known.sinceMs ?? turn.nowMs, capabilities, slots });
    if (known.number !== null) turn.set({ hiredCan: capabilities });
  }
  sortAnew(turn);
  return null;
}

function enlistProblem({
  capabilities,
  slots,
}: {
  readonly capabilities: unknown;
  readonly slots: unknown;
}): string | null {
  if (!(Number.isSafeInteger(slots) && (slots as number) >= 1 && (slots as number) <= SLOT_LIMIT))
    return `The slots ${JSON.stringify(slots)} are not a whole number from 1 to ${SLOT_LIMIT}`;
  return capabilitiesProblem(capabilities);
}

/** Why these cannot be a worker's capabilities, or null. */
export function capabilitiesProblem(capabilities: unknown): string | null {
  if (!Array.isArray(capabilities) || capabilities.length > CAPABILITY_LIMIT)
    return `The capabilities are not a list of at most ${CAPABILITY_LIMIT}`;
  for (const each of capabilities as (Partial<Capability> | null)[]) {
    if (typeof each?.name !== "string" || !NAME.test(each.name) || parseVersion(String(each.version)) === null)
      return `The capability ${JSON.stringify(each)} is not { name, version } with a version such as "1.2.0"`;
  }
  return null;
}

/** A worker is gone or does not answer: what it had waits for another. */
export function lose(turn: Turn, name: string, reason: string): void {
  const member = turn.context.members.find((each) => each.name === name);
  if (member === undefined) return;
  dropMember(turn, name);
  turn.count("lostWorkers");
  if (member.number !== null) keepApart(turn, member.number);
  const had = turn.context.running.filter(({ worker }) => worker === name);
  turn.set({ running: turn.context.running.filter(({ worker }) => worker !== name) });
  for (const run of had) giveBack(turn, run, reason);
  sortAnew(turn);
}

/** As {@link lose}; one that came by itself may come again. */
export function loseSilent(turn: Turn, name: string, reason: string): void {
  const isHired = turn.context.members.some((each) => each.name === name && each.number !== null);
  lose(turn, name, reason);
  if (!isHired) turn.send(name, { type: "hire", crew: turn.context.id });
}

/** Its address may never answer again. */
function keepApart(turn: Turn, number: number): void {
  const { lost } = turn.context;
  if (lost.length < LOST_LIMIT) turn.set({ lost: [...lost, number] });
  else turn.set({ lost: [], numbersFrom: Math.max(number, ...lost) + 1 });
}

function giveBack(turn: Turn, { job, worker }: Run, reason: string): void {
  turn.send(worker, { type: "stop", work: job.id });
  const attempts = turn.context.plan?.attempts ?? 1;
  if (job.tried.length < attempts) wait(turn, job);
  else
    turn.end(
      job,
      job.askers,
      "unknown",
      `Given to ${job.tried.length} workers and never answered; the last: ${reason}`,
    );
}

/** A worker that nobody hired goes; what it has is given to others. */
export const leave = (turn: Turn, from: string): void => {
  if (turn.context.members.some(({ name, number }) => name === from && number === null)) lose(turn, from, "It left");
};

/** A worker has one piece of work less; one on its way out goes with the last. */
export function release(turn: Turn, name: string): void {
  const member = turn.context.members.find((each) => each.name === name);
  if (member === undefined) return;
  if (member.isLeaving && member.running <= 1) dropMember(turn, name);
  else updateMember(turn, name, { running: member.running - 1 });
}

/** The hired get no more work; who has none goes at once. */
export function dismissHired(turn: Turn): void {
  const members = turn.context.members.map((each) => (each.number === null ? each : { ...each, isLeaving: true }));
  turn.set({
    members: members.filter(({ isLeaving, running }) => !isLeaving || running > 0),
    load: { overSinceMs: null, spareSinceMs: null },
  });
}

/** Under a new plan: who was hired as another kind goes, the others say anew what they can do. */
export function reviewHired(turn: Turn, isSameKind: boolean): void {
  if (!isSameKind) {
    turn.set({ hiredCan: null });
    dismissHired(turn);
  }
  for (const { name } of hiredOf(turn)) turn.send(name, { type: "hire", crew: turn.context.id });
  sortAnew(turn);
}

/** While none of the hired is there, perhaps no node hosts their kind: one is asked, and each time it is a dead letter. */
const isScouting = ({ context: { members } }: Turn): boolean =>
  !members.some(({ number, sinceMs }) => number !== null && sinceMs !== null);

/** Asks those again who were hired and have not come. */
export function askAgain(turn: Turn): void {
  const absent = turn.context.members.filter(({ sinceMs }) => sinceMs === null);
  const [asked, maxMs] = isScouting(turn) ? [absent.slice(0, 1), SCOUT_MAX_MS] : [absent, HIRE_AGAIN_MAX_MS];
  for (const member of asked) {
    const isDue = askAgainAtMs(member, maxMs) <= turn.nowMs;
    if (isDue) {
      turn.send(member.name, { type: "hire", crew: turn.context.id });
      updateMember(turn, member.name, { askedAtMs: turn.nowMs });
    }
    turn.wake(askAgainAtMs(isDue ? { ...member, askedAtMs: turn.nowMs } : member, maxMs));
  }
}
