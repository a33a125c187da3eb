/**
 * One actor of a kind driven by hand, without a node: the runtime's own function applies each input, and what it asks for is
 * collected. Invariant: every input is applied twice, the second time on a state that went through storage, and must agree.
 */
import { expect } from "vitest";
import { type ActorState, decodeState, encodeCore, encodeOutbox, newState } from "../../runtime/actor-state.ts";
import { assertTakes } from "../../runtime/admission.ts";
import { type Applied, applyInput } from "../../runtime/apply.ts";
import type { PoolEvent } from "../../runtime/author.ts";
import type { ActorKind } from "../../runtime/define-actor.ts";
import { effectsFingerprint, POOL_PREFIX } from "../../runtime/effects.ts";
import { decodeAnswer, type EventLike, type Input, Tag } from "../../runtime/envelope.ts";
import { type RunnableKind, runnable } from "../../runtime/runnable.ts";

/** A round, recognisable time: 2026-01-01T00:00:00Z. */
export const START_MS = 1_767_225_600_000;

/** Beyond what any sender of a stored state had numbered. */
const STORED_NUMBERS = 1_000;

export interface Sent {
  readonly to: string;
  readonly event: EventLike;
}

export class DrivenActor {
  readonly kind: RunnableKind;
  readonly id: string;
  timeMs = START_MS;
  /** Messages to actors, oldest first. */
  readonly sent: Sent[] = [];
  readonly published: { readonly pool: string; readonly event: PoolEvent }[] = [];
  /** Invocations that were started, oldest first. */
  readonly spawned: { readonly child: string; readonly input: unknown }[] = [];
  /** Answer of the last event. */
  answer: unknown;
  #state: ActorState = newState();
  readonly #seqs = new Map<string, number>();
  #numbered = 0;

  /** `stored`: as some version of the kind left it. */
  constructor(kind: ActorKind, id: string, stored?: Uint8Array) {
    this.kind = runnable(kind);
    this.id = id;
    if (stored === undefined) return;
    this.#state = decodeState(stored, encodeOutbox(this.#state), this.kind, this.kind.runner);
    this.timeMs = this.#state.timeMs;
    this.#numbered = STORED_NUMBERS;
  }

  get value(): unknown {
    return this.#state.snapshot?.value;
  }

  get context(): unknown {
    return this.#state.snapshot?.context;
  }

  get isDone(): boolean {
    return this.#state.snapshot?.status === "done";
  }

  /** Timers that wait, with what is left of them in ms. */
  get timers(): Record<string, number> {
    return Object.fromEntries([...this.#state.timers].map(([id, timer]) => [id, timer.dueAtMs - this.timeMs]));
  }

  get invocations(): string[] {
    return [...this.#state.invocations.keys()];
  }

  /** An ask from `sender`, which is a client unless it is a `kind/id`. */
  send(event: EventLike, sender = "client-1"): this {
    return this.#receive(Tag.Ask, event, sender);
  }

  /** As actors send: no answer is kept for it. */
  tell(event: EventLike, sender: string): this {
    return this.#receive(Tag.Tell, event, sender);
  }

  #receive(tag: Tag, event: EventLike, sender: string): this {
    const seq = (this.#seqs.get(sender) ?? this.#numbered) + 1;
    this.#seqs.set(sender, seq);
    this.#apply({ tag, sender, seq, low: seq, ttlMs: 0, lane: 2, event });
    return this;
  }

  /** Moves time and fires what becomes due, in order. */
  advance(delayMs: number): this {
    const endMs = this.timeMs + delayMs;
    for (;;) {
      const due = [...this.#state.timers]
        .filter(([, timer]) => timer.dueAtMs <= endMs)
        .toSorted(([, a], [, b]) => a.dueAtMs - b.dueAtMs);
      const next = due[0];
      if (next === undefined) break;
      const [id, timer] = next;
      this.timeMs = Math.max(this.timeMs, timer.dueAtMs);
      this.#apply({
        tag: Tag.TimerFired,
        sender: id,
        seq: timer.generation,
        low: 0,
        ttlMs: 0,
        lane: 1,
        event: timer.event,
      });
    }
    this.timeMs = endMs;
    return this;
  }

  /** The running invocation returns. */
  resolve(output: unknown, child = "skill"): this {
    return this.#settle(child, { type: `xstate.done.actor.${child}`, output, actorId: child });
  }

  /** The running invocation fails. */
  reject(error: { readonly name: string; readonly message: string; readonly code?: string }, child = "skill"): this {
    return this.#settle(child, { type: `xstate.error.actor.${child}`, error, actorId: child });
  }

  /** Types of the messages sent to `to` so far. */
  sentTo(to: string): string[] {
    return this.sent.filter((message) => message.to === to).map(({ event }) => event.type);
  }

  /** Forgets what was collected. */
  clear(): this {
    for (const list of [this.sent, this.published, this.spawned]) list.length = 0;
    return this;
  }

  #settle(child: string, event: EventLike): this {
    const running = this.#state.invocations.get(child);
    if (running === undefined)
      throw new Error(`No invocation "${child}" is running: the state is ${JSON.stringify(this.value)}`);
    this.#apply({
      tag: Tag.InvocationSettled,
      sender: child,
      seq: running.startedBy,
      low: 0,
      ttlMs: 0,
      lane: 1,
      event,
    });
    return this;
  }

  #apply(input: Input): void {
    const address = { kind: this.kind.kind, id: this.id };
    assertTakes(this.kind, address, this.#state, input);
    const { version, runner } = this.kind;
    const source = { kind: this.kind.kind, version, migrate: undefined };
    const stored = decodeState(encodeCore(this.#state, version, runner), encodeOutbox(this.#state), source, runner);
    const first = applyInput(this.kind, address, this.#state, input, this.timeMs);
    const second = applyInput(this.kind, address, stored, input, this.timeMs);
    expect(
      encodeCore(stored, version, runner).equals(encodeCore(this.#state, version, runner)),
      "the same input gives the same state",
    ).toBe(true);
    expect(
      effectsFingerprint(second.effects).equals(effectsFingerprint(first.effects)),
      "the same input asks for the same",
    ).toBe(true);
    this.#collect(first);
  }

  #collect({ answer, effects }: Applied): void {
    this.answer = answer === null ? undefined : decodeAnswer(answer);
    for (const { to, event } of effects.outgoing) {
      if (to.startsWith(POOL_PREFIX))
        this.published.push({ pool: to.slice(POOL_PREFIX.length), event: event as unknown as PoolEvent });
      else this.sent.push({ to, event });
    }
    for (const [child, { input }] of effects.start) this.spawned.push({ child, input });
    // Nothing acknowledges here: as if all had been delivered at once.
    this.#state.outbox.clear();
  }
}
