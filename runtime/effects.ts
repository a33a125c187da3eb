/**
 * What a transition asks for, read from XState's action list. Invariant: nothing is performed here; the engine performs
 * effects after the round that holds their input is committed, and never before.
 */
import type { AnyMachineSnapshot } from "xstate";
import { type Address, keyOf } from "./address.ts";
import { type ActorState, type Invocation, queueOutgoing, type Timer, type WantedMessage } from "./actor-state.ts";
import { isRef, POOL_EVENT, type PoolEvent, REPLY_EVENT } from "./author.ts";
import type { CallChain } from "./call-chain.ts";
import { encode, sizeOf } from "./codec.ts";
import type { ActorKind } from "./define-actor.ts";
import { type EventLike, measureEvent } from "./envelope.ts";
import { PayloadError, StateError } from "./errors.ts";
import type { MachineAction, MachineRunner } from "./machine.ts";
import { MAX_TIMER_MS } from "./limits.ts";
import { isPriority, priorityRank } from "./priority.ts";

export interface Effects {
  reply: { readonly value: unknown } | undefined;
  outgoing: readonly WantedMessage[];
  setTimers: readonly [string, Timer][];
  cancelTimers: readonly string[];
  start: readonly [string, Invocation][];
  stop: readonly string[];
  /** Named custom actions: run once after the commit by the live activation, not repeated by recovery. */
  custom: readonly MachineAction[];
  /** What the machine emits to its watchers. */
  emitted: readonly EventLike[];
  /** Payload bytes that become part of the state. */
  bytes: number;
  firedTimer?: string | undefined;
  settledInvocation?: string | undefined;
  /** The actor goes on after it was held: all that its state shows is to be started again. */
  resumed?: true;
  /** What supervision replaced: kept with the dead letter. */
  retired?: { readonly revision: number; readonly value: unknown; readonly context: unknown } | undefined;
}

export const POOL_PREFIX = "pool:";
const NORMAL_LANE = priorityRank("normal");

/** Most inputs want little: all start with one shared empty list, which {@link append} replaces at the first item. */
const NONE: readonly never[] = [];

export function append<T>(list: readonly T[], item: T): readonly T[] {
  if (list === NONE) return [item];
  (list as T[]).push(item); // any other list is one effect's own
  return list;
}

const without = <T>(list: readonly T[], drop: (item: T) => boolean): readonly T[] =>
  list.some(drop) ? list.filter((item) => !drop(item)) : list;

export const noEffects = (): Effects => ({
  reply: undefined,
  outgoing: NONE,
  setTimers: NONE,
  cancelTimers: NONE,
  start: NONE,
  stop: NONE,
  custom: NONE,
  emitted: NONE,
  bytes: 0,
});

interface Place {
  readonly self: string;
  readonly revision: number;
  readonly timeMs: number;
  readonly runner: MachineRunner;
  readonly chain: CallChain | undefined;
}

/**
 * @throws {StateError} An action that only shows at run time that it cannot be durable.
 * @throws {PayloadError} A payload that cannot be stored.
 */
export function collectEffects(
  kind: ActorKind & { readonly runner: MachineRunner },
  address: Address,
  actions: readonly MachineAction[],
  revision: number,
  timeMs: number,
  chain?: CallChain,
): Effects {
  const effects = noEffects();
  const place = { self: keyOf(address.kind, address.id), revision, timeMs, runner: kind.runner, chain };
  for (const action of actions) collect(effects, action, place);
  return effects;
}

function collect(effects: Effects, action: MachineAction, place: Place): void {
  const params = action.params as never;
  switch (action.type) {
    case "xstate.raise":
      raised(effects, params, place);
      return;
    case "xstate.cancel":
      cancelled(effects, (params as { sendId: string }).sendId);
      return;
    case "xstate.sendTo":
      sent(effects, params, place);
      return;
    case "xstate.emit":
      emitted(effects, (params as { event: EventLike }).event, place);
      return;
    case "xstate.spawnChild":
      started(effects, params, place);
      return;
    case "xstate.stopChild":
      stopped(effects, params);
      return;
    case "xstate.log":
    default:
      effects.custom = append(effects.custom, action);
  }
}

function raised(effects: Effects, params: { event: EventLike; id?: string; delay?: number }, place: Place): void {
  if (params.delay !== undefined) setTimer(effects, params, null, place); // without a delay XState has handled it already
}

function setTimer(
  effects: Effects,
  params: { event: EventLike; id?: string; delay?: number },
  to: string | null,
  place: Place,
): void {
  const delayMs = Math.max(0, params.delay ?? 0);
  if (!(delayMs <= MAX_TIMER_MS)) {
    throw new StateError(
      `The delay ${String(params.delay)} of "${params.event.type}" is no time: give 0 to ${MAX_TIMER_MS} ms, or set no timer`,
    );
  }
  const id = params.id ?? `timer-${place.revision}-${effects.setTimers.length}`;
  effects.bytes += measureEvent(params.event, "The delayed event");
  cancelled(effects, id);
  effects.setTimers = append(effects.setTimers, [
    id,
    { generation: place.revision, dueAtMs: place.timeMs + delayMs, event: params.event, to },
  ]);
}

function cancelled(effects: Effects, id: string): void {
  effects.setTimers = without(effects.setTimers, ([other]) => other === id);
  effects.cancelTimers = append(effects.cancelTimers, id);
}

function sent(
  effects: Effects,
  params: { to: unknown; event: EventLike; id?: string; delay?: number },
  place: Place,
): void {
  const to = place.runner.isSelf(params.to)
    ? place.self
    : isRef(params.to)
      ? keyOf(params.to.kind, params.to.id)
      : undefined;
  if (to === undefined) {
    throw new StateError('A sendTo names no durable actor: use ref("kind", id) as its target');
  }
  if (params.delay !== undefined) setTimer(effects, params, to, place);
  else pushMessage(effects, { to, lane: NORMAL_LANE, event: params.event });
}

function pushMessage(effects: Effects, message: WantedMessage): void {
  effects.bytes += measureEvent(message.event, "The message");
  effects.outgoing = append(effects.outgoing, message);
}

function emitted(effects: Effects, event: EventLike, place: Place): void {
  if (event.type === REPLY_EVENT) {
    effects.reply = { value: event["value"] };
  } else if (event.type === POOL_EVENT) {
    const made = event["event"] as PoolEvent;
    assertName("pool", event["pool"]);
    assertName("event type", made.type);
    const lane = priorityRank(isPriority(made.priority) ? made.priority : "normal");
    const full = {
      source: place.self,
      id: `${place.self}:${place.revision}:${effects.outgoing.length}`,
      timeMs: place.timeMs,
      ...made,
    };
    pushMessage(effects, { to: `${POOL_PREFIX}${String(event["pool"])}`, lane, event: full });
  } else {
    measureEvent(event, "The emitted event");
    effects.emitted = append(effects.emitted, event);
  }
}

/** Subject tokens, whatever their letters. */
const NAME = /^[^\s.*>]+(\.[^\s.*>]+)*$/;
/** Longest name of a pool or of an event's type, in characters: both stand in one subject. */
const NAME_LIMIT_CHARS = 256;

/** A subject that no stream takes looks like a stream that is away: the message would be tried for ever. */
function assertName(what: string, name: unknown): void {
  if (typeof name === "string" && name.length <= NAME_LIMIT_CHARS && NAME.test(name)) return;
  throw new PayloadError(
    `The ${what} ${JSON.stringify(name)?.slice(0, 80)} is not valid: use words joined by dots, at most ${NAME_LIMIT_CHARS} characters`,
  );
}

function started(
  effects: Effects,
  params: { actorRef?: { id: string }; src: unknown; input: unknown },
  place: Place,
): void {
  if (params.actorRef === undefined || typeof params.src !== "string") {
    throw new StateError(`An invoked actor is not known: name a promise actor in setup({ actors })`);
  }
  effects.bytes += sizeOf(params.input, `The input of "${params.src}"`);
  if (place.chain !== undefined) effects.bytes += sizeOf(place.chain, "The call chain");
  const id = params.actorRef.id;
  effects.start = append(effects.start, [
    id,
    {
      startedBy: place.revision,
      src: params.src,
      input: params.input,
      startedAtMs: place.timeMs,
      ...(place.chain !== undefined && { chain: place.chain }),
    },
  ]);
}

function stopped(effects: Effects, child: { id?: string } | undefined): void {
  if (child?.id === undefined) return;
  const { id } = child;
  effects.start = without(effects.start, ([other]) => other === id);
  effects.stop = append(effects.stop, id);
}

/** Makes the state what a transition left, with what it asked for. */
export function takeEffect(state: ActorState, snapshot: AnyMachineSnapshot, effects: Effects, timeMs: number): void {
  state.snapshot = snapshot;
  if (effects.firedTimer !== undefined) state.timers.delete(effects.firedTimer);
  if (effects.settledInvocation !== undefined) state.invocations.delete(effects.settledInvocation);
  for (const id of effects.cancelTimers) state.timers.delete(id);
  for (const [id, timer] of effects.setTimers) state.timers.set(id, timer);
  for (const id of effects.stop) state.invocations.delete(id);
  for (const [id, invocation] of effects.start) state.invocations.set(id, invocation);
  if (snapshot.status !== "active") {
    state.timers.clear();
    state.invocations.clear();
  }
  queueOutgoing(state, effects.outgoing, timeMs);
}

/** Two lists of effects as bytes, for the check that a machine is deterministic. */
export const effectsFingerprint = (effects: Effects): Buffer =>
  encode([
    effects.reply ?? null,
    effects.outgoing,
    effects.setTimers,
    effects.cancelTimers,
    effects.start,
    effects.stop,
    effects.emitted,
    effects.custom.map((a) => a.type),
  ]);
