/**
 * What follows a poison message. Invariant: decided from the state and the input alone, so that replay decides the same; more
 * failures than the intensity within the period always end the actor; what ends it can be lifted by an operator.
 */
import { type Address, checkAddress, keyOf } from "./address.ts";
import { type ActorState, queueOutgoing } from "./actor-state.ts";
import { sizeOf } from "./codec.ts";
import { DEGRADED_EVENT } from "./define-actor.ts";
import { append, collectEffects, type Effects, noEffects, takeEffect } from "./effects.ts";
import { StateError } from "./errors.ts";
import { hold } from "./hold.ts";
import { MAX_STATE_BYTES, MAX_TAKEOVER_STATE_BYTES } from "./limits.ts";
import type { Stepped } from "./machine.ts";
import { priorityRank } from "./priority.ts";
import type { RunnableKind } from "./runnable.ts";
import { thrownText } from "./thrown.ts";

/** A poison input. */
export interface Failure {
  readonly timeMs: number;
  readonly cause: string;
  /** Type of the event that could not be taken. */
  readonly type: string;
}

export function supervise(kind: RunnableKind, address: Address, state: ActorState, failure: Failure): Effects {
  const { strategy, intensity, periodMs } = kind.supervision;
  const { timeMs, cause, type } = failure;
  const last = `dead letter ${keyOf(address.kind, address.id)}@${state.revision + 1}, was "${type}": ${cause}`;
  if (state.held !== null) {
    // What an operator retried is poison still: the actor stays as it is, and the letter to see to is the new one.
    state.held = { ...state.held, revision: state.revision + 1 };
    state.stopped = `${state.held.by} goes on; the last, ${last}`;
    return noEffects();
  }
  state.failures = [...state.failures.filter((at) => at > timeMs - periodMs), timeMs].slice(-intensity - 1);
  if (state.failures.length > intensity) {
    const reason = `quarantined after ${state.failures.length} poison messages in ${periodMs} ms; the last, ${last}`;
    return escalated(kind, address, state, timeMs, end(state, "quarantine", reason));
  }
  switch (strategy) {
    case "resume":
      return noEffects();
    case "stop":
      return end(state, "stop", cause);
    case "escalate":
      return escalated(kind, address, state, timeMs, end(state, "stop", cause));
    case "failover":
      return failOver(kind, address, state, failure);
    case "restart":
      return anew(kind, address, state, timeMs, () => kind.runner.init(kind.input(address)));
    case "replace": {
      const retired = retiredOf(state);
      const effects = anew(kind, address, state, timeMs, () => kind.runner.init(kind.input(address)));
      return { ...effects, retired };
    }
    case "degrade":
      return degrade(kind, address, state, failure);
  }
}

function end(state: ActorState, by: "quarantine" | "stop" | "failover", reason: string, to?: string): Effects {
  return { ...noEffects(), stop: hold(state, by, reason, to) };
}

/** Tells the supervisor, if the kind has one, that the actor has ended. */
function escalated(kind: RunnableKind, address: Address, state: ActorState, timeMs: number, effects: Effects): Effects {
  const { supervisor } = kind.supervision;
  const reason = state.stopped as string;
  if (supervisor === undefined) return effects;
  try {
    const boss = supervisor(address);
    checkAddress(boss.kind, boss.id);
    effects.outgoing = append(effects.outgoing, {
      to: keyOf(boss.kind, boss.id),
      lane: priorityRank("high"),
      event: { type: "actor.failed", ...address, reason },
    });
    queueOutgoing(state, effects.outgoing, timeMs);
  } catch (error) {
    state.stopped = `${reason}; and its supervisor cannot be told: ${thrownText(error)}`;
  }
  return effects;
}

/** The standby gets what the work stands at; later messages follow it (see `admission.ts`). */
function failOver(kind: RunnableKind, address: Address, state: ActorState, failure: Failure): Effects {
  const { timeMs, cause, type } = failure;
  try {
    const standby = (kind.supervision.standby as (self: Address) => Address)(address);
    checkAddress(standby.kind, standby.id);
    const to = keyOf(standby.kind, standby.id);
    const self = keyOf(address.kind, address.id);
    if (to === self) throw new StateError(`The standby of "${self}" is itself: name another actor`);
    const effects = end(state, "failover", `failed over to ${to}: ${cause}`, to);
    const event = { type: "supervision.takeover", ...address, cause, event: type, state: handedOver(state) };
    effects.outgoing = append(effects.outgoing, { to, lane: priorityRank("high"), event });
    queueOutgoing(state, effects.outgoing, timeMs);
    return effects;
  } catch (error) {
    return end(state, "stop", `${cause}; and its standby cannot be named: ${thrownText(error)}`);
  }
}

/** Null when it is too large for a message: the standby may query it. */
function handedOver(state: ActorState): Effects["retired"] | null {
  const retired = retiredOf(state);
  return retired === undefined || sizeOf(retired, "The state") > MAX_TAKEOVER_STATE_BYTES ? null : retired;
}

const retiredOf = ({ snapshot, revision }: ActorState): Effects["retired"] =>
  snapshot === null ? undefined : { revision, value: snapshot.value, context: snapshot.context as unknown };

function degrade(kind: RunnableKind, address: Address, state: ActorState, { timeMs, cause, type }: Failure): Effects {
  return anew(
    kind,
    address,
    state,
    timeMs,
    () => {
      const started = state.snapshot === null ? kind.runner.init(kind.input(address)) : null;
      const before = state.snapshot ?? (started as Stepped).snapshot;
      const stepped = kind.runner.step(before, { type: DEGRADED_EVENT, cause, event: type } as { type: string });
      return { snapshot: stepped.snapshot, actions: [...(started?.actions ?? []), ...stepped.actions] };
    },
    false,
  );
}

/** Enters another state. `isFresh`: nothing that was under way goes on. */
function anew(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  timeMs: number,
  enter: () => Stepped,
  isFresh = true,
): Effects {
  try {
    const { snapshot, actions } = enter();
    const effects = collectEffects(kind, address, actions, state.revision + 1, timeMs);
    if (sizeOf(snapshot.context, "The context") > MAX_STATE_BYTES)
      throw new StateError(`The state would take more than ${MAX_STATE_BYTES} bytes`);
    if (isFresh) {
      effects.cancelTimers = [...state.timers.keys()];
      effects.stop = [...effects.stop, ...state.invocations.keys()];
    }
    takeEffect(state, snapshot, effects, timeMs);
    return effects;
  } catch (error) {
    return end(state, "stop", `cannot ${kind.supervision.strategy}: ${thrownText(error)}`);
  }
}
