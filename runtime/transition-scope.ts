/**
 * Time, ids and chance as a machine may see them: taken from the envelope of the input that is being applied.
 * Invariant: applying the same input to the same state gives the same answers, so replay is exact.
 */
import { type Address, fnv1a } from "./address.ts";
import { DeterminismError } from "./errors.ts";

interface Scope {
  readonly self: Address;
  /** Key of the sending actor (`kind/id`), or the client's session. */
  readonly sender: string;
  readonly timeMs: number;
  /** Number of this input in the actor's life, 1 for the first. */
  readonly revision: number;
  /** Ids and numbers drawn so far. */
  draws: number;
}

let current: Scope | undefined;

/** Runs `fn` with the envelope of one input in scope. Synchronous; nests. */
export function withScope<T>(scope: Scope, fn: () => T): T {
  const outer = current;
  current = scope;
  try {
    return fn();
  } finally {
    current = outer;
  }
}

function inScope(what: string): Scope {
  if (current === undefined) {
    throw new DeterminismError(
      `${what} was called outside a transition: use it in guards, assign, sendTo, reply and input functions`,
    );
  }
  return current;
}

/** When the input that is being applied was accepted, in ms since 1970. */
export const now = (): number => inScope("now()").timeMs;

/** The address of the actor that is being run. */
export const self = (): Address => inScope("self()").self;

/** Who sent the input: `kind/id` of an actor, else a client's session id. */
export const sender = (): string => inScope("sender()").sender;

/** An id that is unique to this actor, input and call, and the same on replay. Fits in an address. */
export function uniqueId(): string {
  const scope = inScope("uniqueId()");
  scope.draws++;
  const own = fnv1a(`${scope.self.kind}/${scope.self.id}`).toString(36);
  return `${own}-${scope.revision.toString(36)}-${scope.draws.toString(36)}`;
}

/** A number in [0, 1) drawn from the input's place: the same on replay. Not for secrets. */
export function random(): number {
  const scope = inScope("random()");
  scope.draws++;
  return fnv1a(`${scope.self.kind}/${scope.self.id}#${scope.revision}#${scope.timeMs}#${scope.draws}`) / 2 ** 32;
}
