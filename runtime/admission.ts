/**
 * What an actor takes just now. Invariant: a refusal changes nothing and is not journaled, so whoever asks again in the same
 * state gets the same.
 */
import type { AnyMachineSnapshot } from "xstate";
import type { ActorState, Invocation } from "./actor-state.ts";
import { type Address, keyOf } from "./address.ts";
import { extended, pathOf } from "./call-chain.ts";
import { type Command, commandOf, lifts } from "./control.ts";
import { type ActorKind, SINGLETON_ID } from "./define-actor.ts";
import { type Input, isMessage, Tag } from "./envelope.ts";
import {
  ActorDoneError,
  ActorNotFoundError,
  AddressError,
  BusyError,
  CycleError,
  MovedError,
  QuarantinedError,
  TroupeError,
  UnknownEventError,
} from "./errors.ts";
import { statusOf } from "./hold.ts";
import { MAX_OUTBOX, MAX_STATE_BYTES } from "./limits.ts";
import type { RunnableKind } from "./runnable.ts";
import { withScope } from "./transition-scope.ts";

/** @throws {AddressError} The kind is a singleton, and this is not its id. */
export function assertOnlyId({ kind, isSingleton }: RunnableKind, id: string): void {
  if (isSingleton && id !== SINGLETON_ID)
    throw new AddressError(`Kind "${kind}" is a singleton, "${id}" is not its id: use "${SINGLETON_ID}"`);
}

/**
 * Refuses what needs no journal: nothing changes, whoever asks again gets the same.
 * @throws {UnknownEventError} @throws {ActorDoneError} @throws {QuarantinedError} @throws {MovedError} @throws {CycleError}
 */
export function assertTakes(kind: RunnableKind, address: Address, state: ActorState, input: Input): void {
  if (!isMessage(input.tag)) return;
  const command = commandOf(input);
  if (command !== null && !assertCommand(kind, address, state, command)) return;
  if (command === null && !kind.accepts(input.event.type)) {
    throw new UnknownEventError(
      `Kind "${kind.kind}" has no transition for "${input.event.type}": it takes ${eventList(kind)}`,
    );
  }
  if (state.held !== null && state.held.to !== null && input.tag === Tag.Tell) assertPasses(address, state, input);
  else assertActive(address, state);
  assertNoCycle(kind, address, state, input);
}

/** False: it is taken however the actor stands. @throws As {@link assertTakes}, {@link ActorNotFoundError}. */
function assertCommand(kind: RunnableKind, { id }: Address, state: ActorState, command: Command): boolean {
  if (command.type === "control.start") return false;
  if (command.type !== "control.retry") {
    if (state.revision > 0) return false;
    throw new ActorNotFoundError(`No message ever reached "${keyOf(kind.kind, id)}": there is nothing to go on with`);
  }
  const { type } = command.event;
  // Of its own poison results and timers an actor has letters too.
  if (!kind.accepts(type) && (command.isEdited || !type.startsWith("xstate.")))
    throw new UnknownEventError(`Kind "${kind.kind}" has no transition for "${type}": it takes ${eventList(kind)}`);
  return !lifts(command, state);
}

function assertActive({ kind, id }: Address, state: ActorState): void {
  const status = statusOf(state);
  if (status === "active") return;
  const key = keyOf(kind, id);
  const why = state.stopped === null ? "" : ` (${state.stopped})`;
  if (status === "quarantined")
    throw new QuarantinedError(
      `Actor "${key}" takes no messages (${state.stopped}): see \`troupe dead\`, retry or skip that letter, or go on with \`troupe resume ${kind} ${id}\``,
    );
  if (state.held !== null && state.held.to !== null)
    throw new MovedError(`Actor "${key}" has ${state.stopped}: ask "${state.held.to}"`);
  throw new ActorDoneError(`Actor "${key}" is ${status}${why}: it takes no more messages`);
}

/** What is told to an actor that failed over is passed on. @throws {CycleError} @throws {BusyError} */
function assertPasses({ kind, id }: Address, state: ActorState, { chain = [] }: Input): void {
  const key = keyOf(kind, id);
  if (chain.some(([actor]) => actor === key))
    throw new CycleError(`Actors that failed over to each other pass a message on: ${pathOf(chain, key)}; resume one`);
  extended(chain, [key, 0]);
  if (state.outbox.size >= MAX_OUTBOX || state.extraBytes >= MAX_STATE_BYTES / 2)
    throw new BusyError(`"${key}" has ${state.outbox.size} messages to pass on: is "${state.held?.to}" alive?`);
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
