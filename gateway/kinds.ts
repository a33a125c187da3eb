/** All kinds of the system in one list. Invariant: a node hosts, and a replay knows, the same kinds. */
import { systemKinds, type SystemKindsOptions } from "../actors/index.ts";
import { agentKind } from "../agents/index.ts";
import type { ActorKind } from "../runtime/define-actor.ts";

export const allKinds = (options: SystemKindsOptions): ActorKind[] => [...systemKinds(options), agentKind];
