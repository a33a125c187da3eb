/** The face of the actors' layer: the kinds that every node hosts, and the pumps that feed them. */
import type { Names } from "../nats-config/subjects.ts";
import type { Node } from "../runtime/api.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import type { ActorKind } from "../runtime/define-actor.ts";
import type { Broker } from "../runtime/port.ts";
import { crewKind } from "./crew.ts";
import { deviceKind } from "./device.ts";
import { hostKind } from "./host.ts";
import { startIngress } from "./ingress.ts";
import type { RunSkill, StopSkill } from "./messages/task.ts";
import { watchMisaddressed } from "./misaddressed.ts";
import { startPoolPump } from "./pool-pump.ts";
import { Presence } from "./presence.ts";
import type { Pump, PumpDeps, PumpLog } from "./pump.ts";
import type { WriteLease } from "./lease-store.ts";
import { reservationKind } from "./reservation.ts";
import { resourceActor } from "./resource.ts";
import { routerKind } from "./router.ts";
import { taskActor } from "./task.ts";
import { waitGraphKind } from "./wait-graph.ts";

export { type CrewWorkerOptions, crewWorker, type WorkCall } from "./crew-worker.ts";
export { judgeToken, type Lease, type LeaseVerdict } from "./lease.ts";
export { leaseWriter, readLease } from "./lease-store.ts";
export { crewKind, deviceKind, routerKind, taskActor };
export type { PumpLog };

export interface SystemKindsOptions {
  /** How a task's steps reach the world. */
  readonly runSkill: RunSkill;
  /** How they are stopped when a task is to let its lock go. */
  readonly stopSkill: StopSkill;
  /** How hosts come to know who holds a lock: {@link leaseWriter}. */
  readonly writeLease: WriteLease;
}

export const systemKinds = ({ runSkill, stopSkill, writeLease }: SystemKindsOptions): ActorKind[] => [
  deviceKind,
  hostKind,
  resourceActor({ writeLease }),
  reservationKind,
  waitGraphKind,
  routerKind,
  taskActor({ runSkill, stopSkill }),
  crewKind,
];

export interface PumpsOptions {
  readonly node: Node;
  readonly broker: Broker;
  readonly names: Names;
  readonly log: PumpLog;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/**
 * Starts what carries events to the actors; every node runs it. `stop()` before the node's own.
 * @throws {BrokerUnavailableError} The broker did not answer in time. Nothing is left running.
 */
export async function startPumps({ node, broker, names, log, clock = systemClock }: PumpsOptions): Promise<Pump> {
  const deps: PumpDeps = { broker, names, clock, log };
  const presence = new Presence(deps, node);
  const started: Pump[] = [presence];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((pump) => pump.stop()));
  };
  try {
    await presence.start();
    started.push(await startPoolPump(deps, node.client));
    started.push(await startIngress(deps, node.client));
    started.push(watchMisaddressed(deps, node));
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop };
}
