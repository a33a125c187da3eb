/**
 * What follows a poison message. Invariant: decided from the state and the input's time alone, so that replay decides the
 * same; more failures than the intensity within the period always end the actor.
 */
import { type Address, checkAddress, keyOf } from "./address.ts";
import { type ActorState, queueOutgoing } from "./actor-state.ts";
import { append, collectEffects, type Effects, noEffects } from "./effects.ts";
import { priorityRank } from "./priority.ts";
import type { RunnableKind } from "./runnable.ts";
import { thrownText } from "./thrown.ts";

export function supervise(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  timeMs: number,
  cause: string,
): Effects {
  const { strategy, intensity, periodMs } = kind.supervision;
  state.failures = [...state.failures.filter((at) => at > timeMs - periodMs), timeMs].slice(-intensity - 1);
  if (state.failures.length > intensity) {
    return stop(
      state,
      `quarantined after ${state.failures.length} poison messages in ${periodMs} ms; the last: ${cause}`,
    );
  }
  switch (strategy) {
    case "resume":
      return noEffects();
    case "stop":
      return stop(state, cause);
    case "escalate":
      return escalate(kind, address, state, timeMs, cause);
    case "restart":
      return restart(kind, address, state, timeMs);
  }
}

function escalate(kind: RunnableKind, address: Address, state: ActorState, timeMs: number, cause: string): Effects {
  const effects = stop(state, cause);
  const { supervisor } = kind.supervision;
  if (supervisor === undefined) return effects;
  try {
    const boss = supervisor(address);
    checkAddress(boss.kind, boss.id);
    effects.outgoing = append(effects.outgoing, {
      to: keyOf(boss.kind, boss.id),
      lane: priorityRank("high"),
      event: { type: "actor.failed", ...address, reason: cause },
    });
    queueOutgoing(state, effects.outgoing, timeMs);
  } catch (error) {
    state.stopped = `${cause}; and its supervisor cannot be told: ${thrownText(error)}`;
  }
  return effects;
}

function stop(state: ActorState, reason: string): Effects {
  const effects = noEffects();
  effects.stop = [...state.invocations.keys()];
  state.stopped = reason;
  state.timers.clear();
  state.invocations.clear();
  return effects;
}

function restart(kind: RunnableKind, address: Address, state: ActorState, timeMs: number): Effects {
  const running = [...state.invocations.keys()];
  state.timers.clear();
  state.invocations.clear();
  try {
    const { snapshot, actions } = kind.runner.init(kind.input(address));
    const effects = collectEffects(kind, address, actions, state.revision + 1, timeMs);
    state.snapshot = snapshot;
    for (const [id, timer] of effects.setTimers) state.timers.set(id, timer);
    for (const [id, invocation] of effects.start) state.invocations.set(id, invocation);
    effects.stop = [...effects.stop, ...running];
    queueOutgoing(state, effects.outgoing, timeMs);
    return effects;
  } catch (error) {
    return stop(state, `cannot restart: ${thrownText(error)}`);
  }
}
