/** Why a node takes no messages just now, or none of one actor. Invariant: what is refused for it was not taken, and may be tried again. */
import type { Activation } from "./activation.ts";
import type { Engine } from "./engine.ts";
import { BusyError, type TroupeError } from "./errors.ts";
import { MAX_UNCOVERED_BYTES } from "./limits.ts";

/** Undefined: the node takes messages. Called for each of them. */
export function refusalOf({ options: { journal }, scheduler, performer, saver }: Engine): TroupeError | undefined {
  if (journal.refusal !== undefined) return journal.refusal;
  if (scheduler.isFull) return new BusyError("The node's mailboxes are full: try again later");
  if (performer.deadLetters.isFull)
    return new BusyError("The node's dead letters cannot be stored: free space, or try again later");
  if (saver.isFull) return new BusyError("The node's snapshots lag behind its inputs: free space, or try again later");
  return undefined;
}

/** @throws {BusyError} {@link StreamFullError} The node takes no messages. */
export function assertTaking(engine: Engine): void {
  const refusal = refusalOf(engine);
  if (refusal !== undefined) throw refusal;
}

/** @throws {BusyError} Too many inputs of the actor lack a snapshot. */
export function assertCovered({ key, uncovered }: Activation): void {
  if (uncovered.bytes > MAX_UNCOVERED_BYTES)
    throw new BusyError(`Snapshots of "${key}" lag by ${MAX_UNCOVERED_BYTES} bytes: try again later`);
}
