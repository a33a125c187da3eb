/** One simulated lab host: its devices and what goes wrong with them. Invariant: it speaks only the subjects that real devices speak. */
import type { Logger } from "pino";
import type { Names } from "../../nats-config/subjects.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import type { Broker } from "../../runtime/port.ts";
import { claimHost } from "./claim.ts";
import type { LabHost } from "./hosts.ts";
import { incidentPlan, type PlanOptions, zapPlan } from "./plan.ts";
import { Station } from "./station.ts";
import { follow } from "./ticker.ts";

export interface LabHostOptions {
  readonly host: LabHost;
  readonly broker: Broker;
  readonly names: Names;
  readonly log: Logger;
  readonly dataDir: string;
  readonly plan: PlanOptions;
  readonly clock?: Clock;
}

export interface RunningLabHost {
  readonly stations: readonly Station[];
  /** Silences all devices at once. The broker stays the caller's. */
  stop(): void;
}

/**
 * Brings a host's devices up: heartbeats go out, doors are open, the plan of incidents runs.
 * @throws {HostTakenError} Another process drives them.
 * @throws {Error} A device's token file is damaged.
 */
export async function startLabHost(options: LabHostOptions): Promise<RunningLabHost> {
  const { host, broker, names, plan } = options;
  const clock = options.clock ?? systemClock;
  const claim = await claimHost({ broker, names, clock }, host.name);
  const stations = await openStations(options, clock).catch((error: unknown) => {
    claim.unsubscribe();
    throw error;
  });
  const byId = new Map(stations.map((station) => [station.device.facts.id, station]));
  const plans = [
    follow(clock, incidentPlan(host, plan), (incident) => {
      // A busy device is spared; the next in line takes its incident, so that the lab never falls quiet.
      const chosen = byId.get(incident.device);
      const others = stations.filter((station) => station !== chosen);
      for (const station of [...(chosen === undefined ? [] : [chosen]), ...others])
        if (station.suffer(incident)) return;
    }),
    follow(clock, zapPlan(host, plan.seed), (zap) => byId.get(zap.device)?.zap(zap)),
  ];
  return {
    stations,
    stop: () => {
      for (const running of plans) running.stop();
      for (const station of stations) station.stop();
      claim.unsubscribe();
    },
  };
}

const openStations = (options: LabHostOptions, clock: Clock): Promise<Station[]> =>
  Promise.all(options.host.devices.map((device) => Station.open({ ...options, clock }, device)));
