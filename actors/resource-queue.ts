/**
 * The waiting line of a lock, as pure functions on plain data. Invariant: those whom an operator bumped come first, then
 * critical ones, then the others by arrival and priority with ageing; a holder stands in it once; nobody new joins at
 * {@link QUEUE_LIMIT}, whoever held and waits again does.
 */
import { type Priority, priorityRank } from "../runtime/priority.ts";

/** Waiters of one lock at most: far beyond a lab's parallel tasks, small enough for one state. Further ones are refused. */
export const QUEUE_LIMIT = 1_000;
/**
 * Head start that each step of priority gives over the one below, in ms: ten minutes, some runs of a test. A low waiter is
 * overtaken by high ones that come within twice this after it, and by no later one; only critical ones always pass.
 */
export const AGEING_MS = 600_000;

export interface Waiter {
  /** `kind/id` of the actor, or `client/<name>`. */
  readonly holder: string;
  readonly priority: Priority;
  readonly ttlMs: number;
  readonly permits: number;
  /** When it first asked: one that was preempted keeps its arrival. */
  readonly sinceMs: number;
  /** Who put it first, and why. */
  readonly bumped: { readonly by: string; readonly why: string; readonly atMs: number } | null;
}

export type Queue = readonly Waiter[];

/** Where a waiter stands: its class, then its time. Fixed at arrival, so that waiting needs no sorting. */
function placeOf({ priority, sinceMs, bumped }: Waiter): readonly [rank: number, timeMs: number] {
  if (bumped !== null) return [0, bumped.atMs];
  if (priority === "critical") return [1, sinceMs];
  return [2, sinceMs + priorityRank(priority) * AGEING_MS];
}

function isBefore(a: Waiter, b: Waiter): boolean {
  const [[rankA, timeA], [rankB, timeB]] = [placeOf(a), placeOf(b)];
  if (rankA !== rankB) return rankA < rankB;
  if (timeA !== timeB) return timeA < timeB;
  return a.bumped === null && priorityRank(a.priority) < priorityRank(b.priority);
}

/** Adds a waiter. One that already stands there keeps its place. Whether the line is full is asked before. */
export const enqueue = (queue: Queue, waiter: Waiter): Queue =>
  queue.some((other) => other.holder === waiter.holder) ? queue : insert(queue, waiter);

function insert(queue: Queue, waiter: Waiter): Queue {
  const behind = queue.findIndex((other) => isBefore(waiter, other));
  return behind < 0 ? [...queue, waiter] : [...queue.slice(0, behind), waiter, ...queue.slice(behind)];
}

export const leave = (queue: Queue, holder: string): Queue =>
  queue.some((waiter) => waiter.holder === holder) ? queue.filter((waiter) => waiter.holder !== holder) : queue;

/** Puts a waiter before all that nobody bumped before. */
export function bump(queue: Queue, holder: string, bumped: NonNullable<Waiter["bumped"]>): Queue {
  const waiter = queue.find((other) => other.holder === holder);
  return waiter === undefined ? queue : insert(leave(queue, holder), { ...waiter, bumped });
}

/** 1 for the next in line, 0 for one who does not wait. */
export const positionOf = (queue: Queue, holder: string): number =>
  queue.findIndex((waiter) => waiter.holder === holder) + 1;
