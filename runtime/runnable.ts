/** A kind with its interpreter. Invariant: one interpreter serves all actors of the kind; it holds no actor's state. */
import type { ActorKind } from "./define-actor.ts";
import { DefinitionError } from "./errors.ts";
import { MachineRunner } from "./machine.ts";

export interface RunnableKind extends ActorKind {
  readonly runner: MachineRunner;
}

export const runnable = (kind: ActorKind): RunnableKind => ({ ...kind, runner: new MachineRunner(kind.machine) });

/** @throws {DefinitionError} A kind is given twice. */
export function kindMap(kinds: readonly ActorKind[]): Map<string, RunnableKind> {
  const map = new Map<string, RunnableKind>();
  for (const kind of kinds) {
    if (map.has(kind.kind)) throw new DefinitionError(`The kind "${kind.kind}" is given twice: name each once`);
    map.set(kind.kind, runnable(kind));
  }
  return map;
}
