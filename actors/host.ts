/**
 * A host of the lab, as its devices tell: down when all of them are away. Invariant: one outage raises one alert, in place of its
 * devices' own; a host of one device is never called down, since nobody can tell it from its device.
 */
import { assign, enqueueActions, setup } from "xstate";
import { publish, ref } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import type { PersistedMachine } from "../runtime/machine.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { OFFLINE_ALERT_MS, STABLE_MS } from "./device.ts";
import { ALERT_POOL, HOST_OFFLINE, type HostMessage } from "./messages/device.ts";
import { deviceId } from "./messages/event.ts";

/** Devices of one host at most: far beyond what a machine drives. Further ones say nothing about it. */
export const DEVICES_LIMIT = 1_000;
/** Devices that tell a host from a device. */
const WITNESSES = 2;
/** One away for so long was taken off the host, in ms: a day. It says nothing about it until it is heard again. */
export const REMOVED_MS = 86_400_000;

export interface HostContext {
  readonly id: string;
  /** By the device's name: since when it is away; null: it is there. */
  readonly devices: Readonly<Record<string, number | null>>;
  readonly sinceMs: number | null;
  readonly isAlertOpen: boolean;
}

function heard({ devices }: HostContext, { type, device }: HostMessage): Partial<HostContext> {
  if (!Object.hasOwn(devices, device) && Object.keys(devices).length >= DEVICES_LIMIT) return {};
  return { devices: { ...devices, [device]: type === "deviceThere" ? null : (devices[device] ?? now()) } };
}

/** Only while the host is up: each of the others was told that it is down and is to be told that it is back. */
function withoutRemoved({ devices }: HostContext): Partial<HostContext> {
  const isRemoved = (awaySinceMs: number | null) => awaySinceMs !== null && now() - awaySinceMs >= REMOVED_MS;
  return { devices: Object.fromEntries(Object.entries(devices).filter(([, since]) => !isRemoved(since))) };
}

function isDown({ devices }: HostContext): boolean {
  const all = Object.values(devices);
  return all.length >= WITNESSES && all.every((awaySinceMs) => awaySinceMs !== null);
}

const alertOf = ({ id, devices, sinceMs }: HostContext, status: "active" | "resolved") => ({
  type: HOST_OFFLINE,
  priority: status === "active" ? ("critical" as const) : ("low" as const),
  data: { host_name: id, incident_type: "host_offline", status, devices: Object.keys(devices), since_ms: sinceMs },
});

const machine = setup({
  types: {} as { context: HostContext; events: HostMessage; input: { readonly id: string } },
  delays: { alert: OFFLINE_ALERT_MS, stability: STABLE_MS },
  guards: {
    isFromDevice: ({ context, event }) => sender() === `device/${deviceId({ host: context.id, device: event.device })}`,
    isDown: ({ context }) => isDown(context),
    isUp: ({ context }) => !isDown(context),
    isAlertOpen: ({ context }) => context.isAlertOpen,
    mayAlert: ({ context }) => !context.isAlertOpen,
  },
  actions: {
    hear: assign(({ context, event }) => heard(context, event)),
    forgetRemoved: assign(({ context }) => withoutRemoved(context)),
    stampTime: assign(() => ({ sinceMs: now() })),
    openAlert: assign(() => ({ isAlertOpen: true })),
    closeAlert: assign(() => ({ isAlertOpen: false })),
    alertDown: publish(ALERT_POOL, ({ context }) => alertOf(context, "active")),
    alertResolved: publish(ALERT_POOL, ({ context }) => alertOf(context, "resolved")),
    tellDevices: enqueueActions(
      ({ context: { id, devices }, enqueue }, { type }: { readonly type: "hostDown" | "hostUp" }) => {
        for (const device of Object.keys(devices))
          enqueue.sendTo(ref("device", deviceId({ host: id, device })), { type });
      },
    ),
    /** It came while the host is down already, or was told before it was offline. One not remembered would not hear of the end. */
    tellSender: enqueueActions(({ context: { id, devices }, event: { device }, enqueue }) => {
      if (Object.hasOwn(devices, device))
        enqueue.sendTo(ref("device", deviceId({ host: id, device })), { type: "hostDown" });
    }),
  },
}).createMachine({
  id: "host",
  context: ({ input }) => ({ id: input.id, devices: {}, sinceMs: null, isAlertOpen: false }),
  initial: "up",
  states: {
    up: {
      entry: "stampTime",
      on: {
        deviceAway: { guard: "isFromDevice", actions: ["hear", "forgetRemoved"] },
        deviceThere: { guard: "isFromDevice", actions: "hear" },
      },
      always: { guard: "isDown", target: "down" },
      after: { stability: { guard: "isAlertOpen", actions: ["alertResolved", "closeAlert"] } },
    },
    down: {
      entry: ["stampTime", { type: "tellDevices", params: { type: "hostDown" } }],
      exit: { type: "tellDevices", params: { type: "hostUp" } },
      on: {
        deviceAway: { guard: "isFromDevice", actions: ["hear", "tellSender"] },
        deviceThere: { guard: "isFromDevice", actions: "hear" },
      },
      always: { guard: "isUp", target: "up" },
      after: { alert: { guard: "mayAlert", actions: ["alertDown", "openAlert"] } },
    },
  },
});

/** Version 1 knew only whether a device is there: one that is not counts as away since the host's last change. */
function migrateHost(stored: PersistedMachine): PersistedMachine {
  const context = stored.context as Omit<HostContext, "devices"> & { readonly devices: Record<string, boolean> };
  const devices = Object.entries(context.devices).map(([name, isThere]) => [
    name,
    isThere ? null : (context.sinceMs ?? 0),
  ]);
  return { ...stored, context: { ...context, devices: Object.fromEntries(devices) as HostContext["devices"] } };
}

export const hostKind = defineActor({ kind: "host", machine, version: 2, migrate: migrateHost, publishStatus: true });
