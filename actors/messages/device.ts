/** What a device actor is told and what it publishes. Invariant: only presence makes a device online or offline. */
import type { LabEvent } from "./event.ts";

/** What a heartbeat says about a device. Unknown fields stay in the heartbeat. */
export interface DeviceFacts {
  readonly model?: string;
  readonly name?: string;
  readonly capabilities?: Readonly<Record<string, unknown>> | readonly unknown[];
}

export type DeviceMessage =
  | { readonly type: "observed"; readonly event: LabEvent }
  | { readonly type: "online"; readonly facts: DeviceFacts }
  | { readonly type: "silent" }
  /** The host's actor: all devices of the host are away, or one is back. */
  | { readonly type: "hostDown" }
  | { readonly type: "hostUp" };

/** What devices tell the actor of their host. */
export type HostMessage =
  | { readonly type: "deviceAway"; readonly device: string }
  | { readonly type: "deviceThere"; readonly device: string };

/** Type of the event that a host publishes to {@link ALERT_POOL} when all its devices stay away. */
export const HOST_OFFLINE = "alert.host_offline";

/** Type of the event that a device publishes to {@link ALERT_POOL} when it stays offline. */
export const DEVICE_OFFLINE = "alert.device_offline";
export const ALERT_POOL = "shared.alerts";
