/** Walks a machine's states. Invariant: each comes once, parents before their children. */
import type { AnyStateNode } from "xstate";

export function* stateNodes(node: AnyStateNode): Generator<AnyStateNode, void> {
  yield node;
  for (const child of Object.values(node.states) as AnyStateNode[]) yield* stateNodes(child);
}
