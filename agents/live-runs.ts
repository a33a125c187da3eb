/**
 * What of each task runs in this process. Invariant: a task is over here only if it ran here and every run of it has settled; of a
 * task that never ran here nothing is known.
 */
import { abortable } from "./abortable.ts";

/** Tasks that are remembered after their last run, the latest ones: more than a node has at work. The others are taken for unknown. */
export const REMEMBERED_LIMIT = 10_000;

export class LiveRuns {
  /** Those that were here last stand last. */
  readonly #tasks = new Map<string, Set<Promise<unknown>>>();

  /** Runs `work`, which counts until it settles, whatever its signal says. */
  async track<T>(task: string, work: () => Promise<T>): Promise<T> {
    const runs = this.#tasks.get(task) ?? new Set();
    this.#tasks.delete(task);
    this.#tasks.set(task, runs);
    const run = work();
    runs.add(run);
    try {
      return await run;
    } finally {
      runs.delete(run);
      this.#forget();
    }
  }

  /**
   * Resolves once nothing of the task runs here any more; false at once if it never did.
   * @throws {AbortedError} The signal fired before.
   */
  async over(task: string, signal: AbortSignal): Promise<boolean> {
    const runs = this.#tasks.get(task);
    if (runs === undefined) return false;
    // Each has its own reader for what it ends with; here only the end counts.
    while (runs.size > 0) await abortable(Promise.allSettled(runs), signal, `The wait for task "${task}" to stop`);
    return true;
  }

  #forget(): void {
    if (this.#tasks.size <= REMEMBERED_LIMIT) return;
    for (const [task, runs] of this.#tasks) {
      if (runs.size > 0) continue;
      this.#tasks.delete(task);
      return;
    }
  }
}
