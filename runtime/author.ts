/**
 * What a machine's author uses beside plain XState: addresses as send targets, replies, pool events. All of them are
 * ordinary XState actions and values; the runtime reads them from the transition's action list and acts after the commit.
 */
import {
  type ActionArgs,
  type ActionFunction,
  type AnyActorRef,
  emit,
  type EventObject,
  type MachineContext,
  type ParameterizedObject,
} from "xstate";
import { type Address, checkAddress } from "./address.ts";
import type { Priority } from "./priority.ts";

/** Marks a plain address as a send target, so that it survives storage in a context. */
const REF = "troupe.ref";

export const REPLY_EVENT = "troupe.reply";
export const POOL_EVENT = "troupe.pool";

export interface ActorAddressRef extends Address {
  readonly type: typeof REF;
}

/**
 * A durable actor as target of `sendTo`. Plain data: it may be kept in a context.
 * @throws {AddressError} The kind or id is not valid.
 */
export function ref(kind: string, id: string): AnyActorRef {
  checkAddress(kind, id);
  const value: ActorAddressRef = { type: REF, kind, id };
  // XState hands the target through untouched; only its type wants a live reference.
  return value as unknown as AnyActorRef;
}

export const isRef = (value: unknown): value is ActorAddressRef =>
  typeof value === "object" && value !== null && (value as { type?: unknown }).type === REF;

/** A happening for a pool, CloudEvents 1.0 in meaning. `id` is filled with a stable one when missing. */
export interface PoolEvent {
  readonly type: string;
  readonly source?: string;
  readonly id?: string;
  readonly priority?: Priority;
  readonly data?: unknown;
  /**
   * What keeps its order: an actor's events of one key reach the pool one after the other, those of different keys together.
   * Default: all of an actor's events in a pool keep their order.
   */
  readonly orderKey?: string;
}

/** Returned types mirror XState's own action creators, so that a machine's context and events are inferred. */
type Made<
  C extends MachineContext,
  E extends EventObject,
  A extends EventObject,
  P extends ParameterizedObject["params"] | undefined,
> = ActionFunction<C, E, A, P, never, never, never, never, never>;

/**
 * Answers the `ask` whose event is being handled. The value leaves after the commit. Without one, an ask is answered
 * with the state after the transition.
 */
export function reply<
  TContext extends MachineContext,
  TExpressionEvent extends EventObject,
  TParams extends ParameterizedObject["params"] | undefined,
  TEvent extends EventObject,
>(
  value: (args: ActionArgs<TContext, TExpressionEvent, TEvent>, params: TParams) => unknown,
): Made<TContext, TExpressionEvent, TEvent, TParams> {
  const action = emit((args, params) => ({ type: REPLY_EVENT, value: value(args as never, params as never) }));
  // An emit of ours is valid in every machine, whatever events it declares to emit.
  return action as unknown as Made<TContext, TExpressionEvent, TEvent, TParams>;
}

/** Publishes an event to a pool (`shared.alerts`, `own.qa-manager`) after the commit, at least once, with a stable id. */
export function publish<
  TContext extends MachineContext,
  TExpressionEvent extends EventObject,
  TParams extends ParameterizedObject["params"] | undefined,
  TEvent extends EventObject,
>(
  pool: string | ((args: ActionArgs<TContext, TExpressionEvent, TEvent>) => string),
  event: (args: ActionArgs<TContext, TExpressionEvent, TEvent>, params: TParams) => PoolEvent,
): Made<TContext, TExpressionEvent, TEvent, TParams> {
  const action = emit((args, params) => ({
    type: POOL_EVENT,
    pool: typeof pool === "function" ? pool(args as never) : pool,
    event: event(args as never, params as never),
  }));
  return action as unknown as Made<TContext, TExpressionEvent, TEvent, TParams>;
}
