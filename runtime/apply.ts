/**
 * One input applied to one actor: the total function that live nodes, recovery and offline replay share. Invariant: it
 * either changes the state as the input says and returns what is to be done after the commit, or throws and changes nothing.
 */
import type { AnyMachineSnapshot } from "xstate";
import { type Address, keyOf } from "./address.ts";
import { type ActorState, queueOutgoing } from "./actor-state.ts";
import { type CallChain, extended } from "./call-chain.ts";
import { sizeOf } from "./codec.ts";
import { commandOf, lifts } from "./control.ts";
import { collectEffects, type Effects, noEffects, takeEffect } from "./effects.ts";
import { encodeError, encodeValue, type EventLike, type Input, isMessage, Tag } from "./envelope.ts";
import { lift } from "./hold.ts";
import { PoisonMessageError, StateError, type TroupeError } from "./errors.ts";
import { MAX_CAUSE_LENGTH, MAX_INVOCATIONS, MAX_OUTBOX, MAX_STATE_BYTES, MAX_TIMERS } from "./limits.ts";
import type { Stepped } from "./machine.ts";
import type { RunnableKind } from "./runnable.ts";
import { supervise } from "./supervision.ts";
import { thrownText } from "./thrown.ts";
import { withScope } from "./transition-scope.ts";

export interface Applied {
  /** The encoded answer of an ask; null otherwise. */
  readonly answer: Uint8Array | null;
  readonly effects: Effects;
}

/** Senders silent for long are forgotten at every such revision: at fixed places, so that replay agrees. */
const FORGET_EVERY = 1_024;

/** False for a timer or result whose state was left meanwhile: to be dropped unjournaled. */
export function isCurrent(state: ActorState, input: Input): boolean {
  if (input.tag === Tag.TimerFired) return state.timers.get(input.sender)?.generation === input.seq;
  if (input.tag === Tag.InvocationSettled) return state.invocations.get(input.sender)?.startedBy === input.seq;
  return true;
}

/**
 * Applies one input.
 * @throws Whatever the machine throws, {@link StateError} or {@link PayloadError}: a poison input. The state is as before.
 */
export function applyInput(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  input: Input,
  timeMs: number,
): Applied {
  return run(kind, address, state, input, timeMs, true);
}

/**
 * Applies an input that was committed before. Bounds were checked then; on replay the outbox looks fuller than it was, since
 * acknowledgements are not journaled.
 */
export function replayInput(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  input: Input,
  timeMs: number,
): Applied {
  return run(kind, address, state, input, timeMs, false);
}

function run(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  input: Input,
  timeMs: number,
  isBounded: boolean,
): Applied {
  if (input.tag === Tag.Tell && state.held !== null && state.held.to !== null)
    return passOn(address, state, state.held.to, input, timeMs);
  const command = commandOf(input);
  const sender = command?.type === "control.retry" ? command.sender : input.sender;
  const scope = { self: address, sender, timeMs, revision: state.revision + 1, draws: 0 };
  const isLifted = command !== null && lifts(command, state);
  const holdAgain = isLifted ? lift(state) : null;
  try {
    return withScope(scope, () => {
      const { snapshot, effects } = step(kind, address, state, input, timeMs);
      const isAnswered = input.tag === Tag.Ask || command !== null;
      const answer = isAnswered ? encodeValue(answerOf(effects, snapshot, state.revision + 1)) : null;
      if (isBounded) assertBounds(kind, state, snapshot, effects, answer);
      takeEffect(state, snapshot, effects, timeMs);
      settle(state, input, timeMs, answer);
      return { answer, effects: isLifted ? { ...effects, resumed: true } : effects };
    });
  } catch (error) {
    holdAgain?.();
    throw error;
  }
}

/** What is told to an actor that failed over follows the work. */
function passOn(address: Address, state: ActorState, to: string, input: Input, timeMs: number): Applied {
  const chain = extended(input.chain ?? [], [keyOf(address.kind, address.id), 0]);
  const effects = { ...noEffects(), outgoing: [{ to, lane: input.lane, event: input.event, chain }] };
  queueOutgoing(state, effects.outgoing, timeMs);
  settle(state, input, timeMs, null);
  return { answer: null, effects };
}

/** Applies an input that was found to be poison: the state stays but for what supervision decides. Never throws. */
export function applyPoison(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  input: Input,
  timeMs: number,
  cause: string,
): Applied {
  const scope = { self: address, sender: input.sender, timeMs, revision: state.revision + 1, draws: 0 };
  // Before supervision: a restart may set the same ones anew.
  if (input.tag === Tag.TimerFired) state.timers.delete(input.sender);
  if (input.tag === Tag.InvocationSettled) state.invocations.delete(input.sender);
  const effects = withScope(scope, () =>
    supervise(kind, address, state, { timeMs, cause, type: (machineEvent(input) ?? input.event).type }),
  );
  const answer = isMessage(input.tag) ? encodeError(poisonError(address, cause)) : null;
  settle(state, input, timeMs, answer);
  return { answer, effects };
}

export function poisonError(address: Address, cause: string): TroupeError {
  return new PoisonMessageError(
    `Actor "${keyOf(address.kind, address.id)}" could not take the message, which is in the dead letters: ${cause}`,
  );
}

/** What is written of a poison message's cause: stable, for the journal and the dead letter. */
export function causeOf(error: unknown): string {
  const text = thrownText(error);
  // Well-formed again after the cut: what is in memory must be what storage gives back.
  return text.length > MAX_CAUSE_LENGTH ? `${text.slice(0, MAX_CAUSE_LENGTH).toWellFormed()}…` : text;
}

/** Whose calls wait for what this input starts: a result carries on for those who waited for its invocation. */
const chainOf = (state: ActorState, { tag, sender, chain }: Input): CallChain | undefined =>
  tag === Tag.InvocationSettled ? state.invocations.get(sender)?.chain : chain;

interface Step {
  readonly snapshot: AnyMachineSnapshot;
  readonly effects: Effects;
}

function step(kind: RunnableKind, address: Address, state: ActorState, input: Input, timeMs: number): Step {
  const started = state.snapshot === null ? kind.runner.init(kind.input(address)) : null;
  const before = state.snapshot ?? (started as Stepped).snapshot;
  const timer = input.tag === Tag.TimerFired ? state.timers.get(input.sender) : undefined;
  if (timer !== undefined && timer.to !== null) {
    return {
      snapshot: before,
      effects: { ...noEffects(), outgoing: [{ to: timer.to, lane: 2, event: timer.event }], firedTimer: input.sender },
    };
  }
  const event = machineEvent(input);
  const stepped =
    before.status === "active" && event !== null ? kind.runner.step(before, event) : { snapshot: before, actions: [] };
  const actions = started === null ? stepped.actions : [...started.actions, ...stepped.actions];
  const effects = collectEffects(kind, address, actions, state.revision + 1, timeMs, chainOf(state, input));
  if (timer !== undefined) return { snapshot: stepped.snapshot, effects: { ...effects, firedTimer: input.sender } };
  if (input.tag === Tag.InvocationSettled)
    return { snapshot: stepped.snapshot, effects: { ...effects, settledInvocation: input.sender } };
  return { snapshot: stepped.snapshot, effects };
}

/** What of an input the machine sees. */
export function machineEvent(input: Input): EventLike | null {
  const command = commandOf(input);
  if (command === null) return input.event;
  return command.type === "control.retry" ? command.event : null;
}

/** An explicit reply, else the state after the transition. */
function answerOf(effects: Effects, snapshot: AnyMachineSnapshot, revision: number): unknown {
  if (effects.reply !== undefined) {
    sizeOf(effects.reply.value, "The reply");
    return effects.reply.value;
  }
  const { status, value, context, output } = snapshot;
  return { status, value, context, ...(output !== undefined && { output }), revision };
}

function assertBounds(
  kind: RunnableKind,
  state: ActorState,
  snapshot: AnyMachineSnapshot,
  effects: Effects,
  answer: Uint8Array | null,
): void {
  const size =
    contextSize(state, snapshot) +
    state.extraBytes +
    pendingBytes(state, effects) +
    effects.bytes +
    state.senders.bytes +
    (answer?.length ?? 0);
  if (size > MAX_STATE_BYTES) {
    throw new StateError(
      `The state of a "${kind.kind}" would take about ${size} bytes, more than ${MAX_STATE_BYTES}: keep large data elsewhere`,
    );
  }
  if (effects.outgoing.length > 0 && state.outbox.size + effects.outgoing.length > MAX_OUTBOX)
    throw new StateError(`The outbox would hold more than ${MAX_OUTBOX} messages: are the receivers alive?`);
  if (effects.setTimers.length > 0 && grown(state.timers, effects.cancelTimers, effects.setTimers) > MAX_TIMERS)
    throw new StateError(`The actor would have more than ${MAX_TIMERS} timers: cancel some`);
  if (effects.start.length > 0 && grown(state.invocations, effects.stop, effects.start) > MAX_INVOCATIONS)
    throw new StateError(`The actor would run more than ${MAX_INVOCATIONS} invocations: await some`);
}

/** How many there will be: what goes away and comes again counts once. */
function grown(
  held: ReadonlyMap<string, unknown>,
  gone: readonly string[],
  added: readonly (readonly [string, unknown])[],
): number {
  const left = new Set(gone.filter((id) => held.has(id)));
  return held.size - left.size + added.filter(([id]) => left.has(id) || !held.has(id)).length;
}

/** Payloads of the timers and invocations that stay. */
function pendingBytes({ timers, invocations }: ActorState, { cancelTimers, stop }: Effects): number {
  if (timers.size === 0 && invocations.size === 0) return 0;
  let size = 0;
  for (const [id, timer] of timers) if (!cancelTimers.includes(id)) size += sizeOnce(timer.event);
  for (const [id, { input, chain }] of invocations)
    if (!stop.includes(id)) {
      size += typeof input === "object" && input !== null ? sizeOnce(input) : sizeOf(input, "The input");
      if (chain !== undefined) size += sizeOnce(chain);
    }
  return size;
}

function sizeOnce(value: object, what = "The payload"): number {
  let size = sizes.get(value);
  if (size === undefined) sizes.set(value, (size = sizeOf(value, what)));
  return size;
}

/** Sizes of large parts of contexts, which keep their identity through `assign`. Small ones cost less to count than to remember. */
const sizes = new WeakMap<object, number>();
const REMEMBER_BYTES = 256;
/** Items from which on a list is measured item by item. */
const LONG_LIST = 16;
/** What a list itself takes, in bytes. */
const LIST_BYTES = 5;

/** Only what changed since the last input is measured. */
function contextSize(state: ActorState, snapshot: AnyMachineSnapshot): number {
  const context = snapshot.context as Record<string, unknown>;
  const output = snapshot.output === undefined ? 0 : sizeOf(snapshot.output, "The output");
  if (state.measuredContext === context) return output + state.contextBytes;
  let bytes = 0;
  for (const key in context) bytes += key.length + 5 + partSize(key, context[key]);
  state.measuredContext = context;
  state.contextBytes = bytes;
  return output + bytes;
}

function partSize(key: string, value: unknown): number {
  const known = typeof value === "object" && value !== null ? sizes.get(value) : undefined;
  if (known !== undefined) return known;
  const what = `The context's "${key}"`;
  const bytes = Array.isArray(value) && value.length >= LONG_LIST ? listSize(value, what) : sizeOf(value, what);
  if (bytes >= REMEMBER_BYTES && typeof value === "object" && value !== null) sizes.set(value, bytes);
  return bytes;
}

/** A long list changes by an item or two: the others keep their identity, and are not measured again. */
function listSize(items: readonly unknown[], what: string): number {
  let bytes = LIST_BYTES;
  for (const item of items)
    bytes += typeof item === "object" && item !== null ? sizeOnce(item, what) : sizeOf(item, what);
  return bytes;
}

function settle(state: ActorState, input: Input, timeMs: number, answer: Uint8Array | null): void {
  state.revision++;
  state.timeMs = timeMs;
  if (isMessage(input.tag)) state.senders.mark(input.sender, input.seq, input.low, timeMs, answer);
  if (state.revision % FORGET_EVERY === 0) state.senders.forget(timeMs);
}
