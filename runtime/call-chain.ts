/** Who waits for whom: the invocations that a call was made from, outermost first. Invariant: a chain is bounded. */
import { CycleError } from "./errors.ts";
import { MAX_CALL_CHAIN } from "./limits.ts";

/** An actor's key, and the revision that started the invocation which calls; 0: no invocation, it passed a message on. */
export type CallLink = readonly [actor: string, startedBy: number];
export type CallChain = readonly CallLink[];

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
