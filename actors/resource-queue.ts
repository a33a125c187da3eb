/**
 * The waiting line of a lock, as pure functions on plain data. Invariant: ordered by priority, then by arrival; a holder
 * stands in it once; its length never passes {@link QUEUE_LIMIT}.
 */
import { type Priority, priorityRank } from "../runtime/priority.ts";

/** Waiters of one lock at most: far beyond a lab's parallel tasks, small enough for one state. Further ones are refused. */
export const QUEUE_LIMIT = 1_000;

export interface Waiter {
  /** `kind/id` of the actor, or `client/<name>`. */
  readonly holder: string;
  readonly priority: Priority;
  readonly ttlMs: number;
  readonly sinceMs: number;
}

export type Queue = readonly Waiter[];

/** Adds a waiter behind all of its priority. A waiter that already stands there keeps its place. Null: the line is full. */
export function enqueue(queue: Queue, waiter: Waiter): Queue | null {
  if (queue.some((other) => other.holder === waiter.holder)) return queue;
  if (queue.length >= QUEUE_LIMIT) return null;
  const rank = priorityRank(waiter.priority);
  const behind = queue.findIndex((other) => priorityRank(other.priority) > rank);
  return behind < 0 ? [...queue, waiter] : [...queue.slice(0, behind), waiter, ...queue.slice(behind)];
}

export const leave = (queue: Queue, holder: string): Queue =>
  queue.some((waiter) => waiter.holder === holder) ? queue.filter((waiter) => waiter.holder !== holder) : queue;

/** 1 for the next in line, 0 for one who does not wait. */
export const positionOf = (queue: Queue, holder: string): number =>
  queue.findIndex((waiter) => waiter.holder === holder) + 1;
