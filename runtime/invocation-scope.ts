/**
 * What the work of an invocation may know of its place. Invariant: calls made inside an invocation carry its chain and no other,
 * however many run at once; a fencing token is that of the owner that started the work, also after another took over.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { CallChain } from "./call-chain.ts";
import { DeterminismError } from "./errors.ts";

interface InvocationScope {
  readonly chain: CallChain;
  /** Epoch of the actor's shard: grows with each owner. */
  readonly token: number;
}

const NO_CALLS: CallChain = [];
const scopes = new AsyncLocalStorage<InvocationScope>();

export const inInvocation = <T>(scope: InvocationScope, work: () => T): T => scopes.run(scope, work);

/** The chain of the invocation that is running here; empty outside of one. */
export const currentChain = (): CallChain => scopes.getStore()?.chain ?? NO_CALLS;

/**
 * Grows with each owner of the actor, and is the same for all work of one. What an invocation does outside carries it; whoever
 * receives that refuses a token below the highest it has seen, and so whatever a former owner still does.
 * @throws {DeterminismError} Called outside an invocation.
 */
export function fencingToken(): number {
  const scope = scopes.getStore();
  if (scope !== undefined) return scope.token;
  throw new DeterminismError("fencingToken() was called outside an invocation: use it in promise actors");
}
