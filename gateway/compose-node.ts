/** Composition root of a node: all kinds of the system, the skills, the pumps. Invariant: pumps stop before the node drains. */
import pino, { type Logger } from "pino";
import { leaseWriter, startPumps } from "../actors/index.ts";
import { builtInSkills, type Skill, SkillRegistry } from "../agents/index.ts";
import { makeNames } from "../nats-config/subjects.ts";
import type { Node } from "../runtime/api.ts";
import type { ActorKind } from "../runtime/define-actor.ts";
import { startNode } from "../runtime/node.ts";
import type { NodeOptions } from "../runtime/node-options.ts";
import { connectBroker } from "../runtime/port-nats.ts";
import { allKinds } from "./kinds.ts";

export interface ComposeOptions extends Pick<NodeOptions, "labels" | "roles" | "weight" | "standby"> {
  readonly name: string;
  readonly servers: string[];
  readonly namespace?: string;
  readonly deviceRoot?: string;
  /** Default: JSON lines on stderr. */
  readonly log?: Logger;
  /** What its steps can call besides services. Default: {@link builtInSkills}. Every node of a cluster needs the same. */
  readonly skills?: readonly Skill[];
  /** Kinds beside those of the system. Every node of a cluster needs the same, or they have a `placement`. */
  readonly kinds?: readonly ActorKind[];
}

export interface ComposedNode {
  readonly node: Node;
  readonly skills: SkillRegistry;
  /** Drains. Idempotent. */
  stop(): Promise<void>;
}

export async function composeNode(options: ComposeOptions): Promise<ComposedNode> {
  const { name, servers, labels, roles, weight, standby, log = pino(pino.destination(2)) } = options;
  const names = makeNames(options);
  const { namespace, deviceRoot } = names;
  const place = {
    ...(labels !== undefined && { labels }),
    ...(roles !== undefined && { roles }),
    ...(weight !== undefined && { weight }),
    ...(standby !== undefined && { standby }),
  };
  // Skills and pumps have a connection of their own: what they wait for must not stand before the node's lease.
  const broker = await connectBroker({ servers, name: `${name} skills` });
  try {
    const skills = new SkillRegistry(options.skills ?? builtInSkills, { broker, names });
    const { runSkill, stopSkill } = skills;
    const system = allKinds({ runSkill, stopSkill, writeLease: leaseWriter({ broker, names }) });
    const kinds = [...system, ...(options.kinds ?? [])];
    const node = await startNode({ name, servers, namespace, deviceRoot, kinds, log, ...place });
    const pumps = await startPumps({ node, broker, names, log });
    let stopped: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      await pumps.stop();
      await node.stop();
      await broker.close();
    };
    return { node, skills, stop: () => (stopped ??= stop()) };
  } catch (error) {
    await broker.close();
    throw error;
  }
}
