/**
 * What an actor takes just now. Invariant: a refusal changes nothing and is not journaled, so whoever asks again in the same
 * state gets the same.
 */
import type { AnyMachineSnapshot } from "xstate";
import type { ActorState, Invocation } from "./actor-state.ts";
import { type Address, keyOf } from "./address.ts";
import { pathOf } from "./call-chain.ts";
import type { ActorKind } from "./define-actor.ts";
import { type Input, Tag } from "./envelope.ts";
import { ActorDoneError, CycleError, TroupeError, UnknownEventError } from "./errors.ts";
import type { RunnableKind } from "./runnable.ts";
import { withScope } from "./transition-scope.ts";

/**
 * Refuses what needs no journal: nothing changes, whoever asks again gets the same.
 * @throws {UnknownEventError} @throws {ActorDoneError} @throws {CycleError}
 */
export function assertTakes(kind: RunnableKind, address: Address, state: ActorState, input: Input): void {
  if (input.tag > Tag.Ask) return;
  if (!kind.accepts(input.event.type)) {
    throw new UnknownEventError(
      `Kind "${kind.kind}" has no transition for "${input.event.type}": it takes ${eventList(kind)}`,
    );
  }
  const status = state.stopped === null ? (state.snapshot?.status ?? "active") : "stopped";
  if (status !== "active") {
    throw new ActorDoneError(
      `Actor "${keyOf(address.kind, address.id)}" is ${status}${state.stopped === null ? "" : ` (${state.stopped})`}: it takes no more messages`,
    );
  }
  assertNoCycle(kind, address, state, input);
}

/**
 * A call that came back to an actor whose invocation waits for it is answered like any other: the mailbox is free while an
 * invocation runs. But one that the present state ignores would wait for a change that itself waits for the call.
 * @throws {CycleError}
 */
function assertNoCycle(kind: RunnableKind, address: Address, state: ActorState, input: Input): void {
  const { chain, tag, event } = input;
  if (chain === undefined || tag !== Tag.Ask || state.snapshot === null) return;
  const self = keyOf(address.kind, address.id);
  const waits = ({ startedBy }: Invocation) => chain.some(([key, by]) => key === self && by === startedBy);
  if (![...state.invocations.values()].some(waits) || heeds(kind, address, state, input)) return;
  throw new CycleError(
    `The call ${pathOf(chain, self)} closes a circle: "${self}" waits for it and, in state ${JSON.stringify(state.snapshot.value)}, does nothing on "${event.type}"; handle the event there, or send a message instead of a call`,
  );
}

function heeds(kind: RunnableKind, address: Address, state: ActorState, { sender, event }: Input): boolean {
  const scope = { self: address, sender, timeMs: state.timeMs, revision: state.revision + 1, draws: 0 };
  try {
    return withScope(scope, () => kind.runner.heeds(state.snapshot as AnyMachineSnapshot, event));
  } catch (error) {
    if (error instanceof TroupeError) throw error;
    return true; // the transition will throw too, and tell
  }
}

function eventList(kind: ActorKind): string {
  const own = (kind.machine.events as string[]).filter((type) => !type.startsWith("xstate."));
  return own.length > 0 ? own.slice(0, 12).join(", ") : "none";
}
