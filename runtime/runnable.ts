/** A kind with its interpreter. Invariant: one interpreter serves all actors of the kind; it holds no actor's state. */
import type { ActorKind } from "./define-actor.ts";
import { MachineRunner } from "./machine.ts";

export interface RunnableKind extends ActorKind {
  readonly runner: MachineRunner;
}

export const runnable = (kind: ActorKind): RunnableKind => ({ ...kind, runner: new MachineRunner(kind.machine) });
