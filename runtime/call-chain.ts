/**
 * Who waits for whom: the invocations that a call was made from, outermost first. Invariant: a call made inside an invocation
 * carries the chain of that invocation and no other, however many calls run at once; a chain is bounded.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { CycleError } from "./errors.ts";
import { MAX_CALL_CHAIN } from "./limits.ts";

/** An actor's key, and the revision that started the invocation which calls; 0: no invocation, it passed a message on. */
export type CallLink = readonly [actor: string, startedBy: number];
export type CallChain = readonly CallLink[];

const NO_CALLS: CallChain = [];
const scopes = new AsyncLocalStorage<CallChain>();

/** Runs an invocation's work: calls that it makes carry `chain`. */
export const inChain = <T>(chain: CallChain, work: () => T): T => scopes.run(chain, work);

/** The chain of the invocation that is running here; empty outside of one. */
export const currentChain = (): CallChain => scopes.getStore() ?? NO_CALLS;

/** @throws {CycleError} The chain is as long as it may be. */
export function extended(chain: CallChain, link: CallLink): CallChain {
  if (chain.length < MAX_CALL_CHAIN) return [...chain, link];
  throw new CycleError(
    `The calls ${pathOf(chain, link[0])} are more than ${MAX_CALL_CHAIN} deep: end the recursion, or go on with a message instead of a call`,
  );
}

export const pathOf = (chain: CallChain, to: string): string => [...chain.map(([actor]) => actor), to].join(" → ");

/** What came over the wire as a chain. */
export const isChain = (value: unknown): value is CallChain =>
  Array.isArray(value) &&
  value.length <= MAX_CALL_CHAIN &&
  value.every(
    (link) => Array.isArray(link) && link.length === 2 && typeof link[0] === "string" && Number.isSafeInteger(link[1]),
  );
