/**
 * Promise actors of live activations. Invariant: one runs only after the commit of the input that started it; its result
 * comes back as an input; an owner restarts those that the state shows, under the same id. At least once, never invisible.
 */
import type { Activation } from "./activation.ts";
import type { Invocation } from "./actor-state.ts";
import { extended } from "./call-chain.ts";
import type { Clock } from "./clock.ts";
import { resolveInvocation } from "./durable-check.ts";
import { encodeInput, type Input, Tag } from "./envelope.ts";
import { AbortedError, DeadlineError, DefinitionError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { inInvocation } from "./invocation-scope.ts";
import { priorityRank } from "./priority.ts";
import type { Inject } from "./timers.ts";
import { plainError } from "./thrown.ts";

const LANE = priorityRank("high");

export class Invocations {
  readonly #clock: Clock;
  readonly #inject: Inject;
  readonly #mayAct: () => boolean;
  readonly #epochOf: (shard: Shard) => number;
  /** Some were not started, or were stopped, for want of a lease. */
  isBehind = false;

  constructor(clock: Clock, inject: Inject, mayAct: () => boolean, epochOf: (shard: Shard) => number) {
    this.#clock = clock;
    this.#inject = inject;
    this.#mayAct = mayAct;
    this.#epochOf = epochOf;
  }

  /** Without a lease it waits for {@link resume}. */
  start(activation: Activation, child: string, invocation: Invocation): void {
    this.stop(activation, child);
    if (!this.#mayAct()) {
      this.isBehind = true;
      return;
    }
    const controller = new AbortController();
    activation.running.set(child, { startedBy: invocation.startedBy, controller });
    const deadline = this.#clock.setTimeout(() => {
      const ms = activation.kind.invocationDeadlineMs;
      controller.abort(
        new DeadlineError(
          `Invocation "${child}" of "${activation.key}" ran longer than ${ms} ms: raise invocationDeadlineMs or do less`,
        ),
      );
    }, activation.kind.invocationDeadlineMs);
    void this.#run(activation, child, invocation, controller.signal)
      .then(
        (output) => ({ type: `xstate.done.actor.${child}`, output, actorId: child }),
        (error: unknown) => failure(child, error),
      )
      .then((event) => {
        this.#clock.clearTimeout(deadline);
        this.#settle(activation, child, invocation, event);
      });
  }

  /** Starts what the committed state shows active and does not run: a new owner, a re-activation, a lease that is back. */
  resume(activation: Activation): void {
    for (const [child, invocation] of activation.state.invocations) {
      const isRunning = activation.running.get(child)?.startedBy === invocation.startedBy;
      if (!isRunning && invocation.startedBy <= activation.committedRevision) this.start(activation, child, invocation);
    }
  }

  /** Fires the signal; what still comes is stale. */
  stop(activation: Activation, child: string): void {
    const running = activation.running.get(child);
    if (running === undefined) return;
    activation.running.delete(child);
    running.controller.abort(
      new AbortedError(`Invocation "${child}" of "${activation.key}" was stopped: its state was left`),
    );
  }

  /** Fires all signals but keeps the results welcome: the machine decides by the message that follows. */
  abort(activation: Activation, reason: string): void {
    for (const { controller } of activation.running.values()) controller.abort(new AbortedError(reason));
  }

  stopAll(activation: Activation): void {
    for (const child of [...activation.running.keys()]) this.stop(activation, child);
  }

  async #run(activation: Activation, child: string, invocation: Invocation, signal: AbortSignal): Promise<unknown> {
    const work = resolveInvocation(activation.kind.machine, invocation.src);
    if (work === undefined)
      throw new DefinitionError(
        `Kind "${activation.kind.kind}" has no promise actor "${invocation.src}": was it renamed? Raise the version and migrate`,
      );
    const self = { id: child, sessionId: `${activation.key}:${invocation.startedBy}:${child}` };
    const chain = extended(invocation.chain ?? [], [activation.key, invocation.startedBy]);
    const token = this.#epochOf(activation.shard);
    const aborted = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    return await Promise.race([
      inInvocation({ chain, token }, () =>
        work({ input: invocation.input, signal, self, system: {}, emit: () => undefined }),
      ),
      aborted,
    ]);
  }

  #settle(activation: Activation, child: string, invocation: Invocation, event: Input["event"]): void {
    const running = activation.running.get(child);
    if (running?.startedBy !== invocation.startedBy || activation.phase !== "live") return; // stopped, or no longer ours
    activation.running.delete(child);
    const make = (settled: Input["event"]): Input => ({
      tag: Tag.InvocationSettled,
      sender: child,
      seq: invocation.startedBy,
      low: 0,
      ttlMs: 0,
      lane: LANE,
      event: settled,
    });
    let input = make(event);
    let body: Uint8Array;
    try {
      body = encodeInput(input);
    } catch (error) {
      input = make(failure(child, error)); // an output that cannot be stored is a failure of the invocation
      body = encodeInput(input);
    }
    this.#inject(activation, input, body);
  }
}

function failure(child: string, error: unknown): Input["event"] {
  return { type: `xstate.error.actor.${child}`, error: plainError(error), actorId: child };
}
