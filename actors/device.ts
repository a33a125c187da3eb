/**
 * A device of the lab: who it is, whether it is there, what it last said. Invariant: only presence moves it between
 * online, suspect and offline, and one outage raises one alert and closes it once, however often it comes and goes meanwhile.
 */
import { assign, enqueueActions, setup } from "xstate";
import { keyOf } from "../runtime/address.ts";
import { publish, ref } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import type { Priority } from "../runtime/priority.ts";
import { now, sender } from "../runtime/transition-scope.ts";
import { ALERT_POOL, DEVICE_OFFLINE, type DeviceMessage, type HostMessage } from "./messages/device.ts";
import { placeOf } from "./messages/event.ts";

/** A device offline for this long is worth waking somebody, in ms: spec 000 §3.1, "Device offline for 5 minutes". */
export const OFFLINE_ALERT_MS = 300_000;
/** A device that is heard again within this was only suspect, in ms: some heartbeats more than the server waits for. */
export const SUSPECT_MS = 5_000;
/** A device whose alert is open must stay this long before it counts as back, in ms: one that flaps raises one alert. */
export const STABLE_MS = 60_000;
/** Alerts kept for a reader, latest last. All of them are in the pool. */
export const RECENT_ALERTS = 20;

interface SeenEvent {
  readonly id: string;
  readonly type: string;
  readonly priority: Priority;
  readonly timeMs: number;
}

export interface DeviceContext {
  readonly id: string;
  readonly host: string;
  readonly device: string;
  readonly name: string | null;
  readonly model: string | null;
  readonly capabilities: Readonly<Record<string, unknown>> | readonly unknown[] | null;
  /** When it came to its present state, in ms since 1970; null while unknown. */
  readonly sinceMs: number | null;
  /** When the alert was raised that is still open. */
  readonly alertedAtMs: number | null;
  /** All devices of its host are away: what is broken is the host. */
  readonly isHostDown: boolean;
  readonly lastEvent: SeenEvent | null;
  readonly alerts: readonly SeenEvent[];
  readonly counters: {
    readonly events: number;
    readonly alerts: number;
    readonly onlines: number;
    readonly offlines: number;
  };
}

function counted(context: DeviceContext, what: "onlines" | "offlines"): Partial<DeviceContext> {
  return { counters: { ...context.counters, [what]: context.counters[what] + 1 } };
}

const alertOf = (context: DeviceContext, status: "active" | "resolved") => ({
  type: DEVICE_OFFLINE,
  // What is over is background.
  priority: status === "active" ? ("critical" as const) : ("low" as const),
  data: {
    host_name: context.host,
    device_id: context.device,
    device_name: context.name,
    device_model: context.model,
    incident_type: "device_offline",
    status,
    ...(status === "active" ? { offline_since_ms: context.sinceMs } : { alerted_at_ms: context.alertedAtMs }),
  },
});

/** Whoever else said that the host is gone would take the device from its holder. */
const isFromHost = ({ host }: DeviceContext): boolean => sender() === keyOf("host", host);

const hostIsUp = {
  guard: "isHostBack",
  actions: [
    { type: "noteHost", params: { isDown: false } },
    { type: "tellLock", params: { type: "hostBack" } },
  ],
} as const;

const machine = setup({
  types: {} as { context: DeviceContext; events: DeviceMessage; input: { readonly id: string } },
  delays: {
    offlineAlert: ({ context }) => Math.max(0, (context.sinceMs ?? now()) + OFFLINE_ALERT_MS - now()),
    suspicion: SUSPECT_MS,
    stability: STABLE_MS,
  },
  guards: {
    /** The host's alert stands for all its devices. */
    mayAlert: ({ context }) => context.alertedAtMs === null && !context.isHostDown,
    isAlertOpen: ({ context }) => context.alertedAtMs !== null,
    isHostBack: ({ context }) => context.isHostDown && isFromHost(context),
    isFromHost: ({ context }) => isFromHost(context),
  },
  actions: {
    rememberEvent: assign(({ context, event }) => {
      if (event.type !== "observed") return {};
      const { id, type, priority, timeMs } = event.event;
      const seen = { id, type, priority, timeMs };
      const isAlert = type.startsWith("alert.");
      return {
        lastEvent: seen,
        alerts: isAlert ? [...context.alerts, seen].slice(-RECENT_ALERTS) : context.alerts,
        counters: {
          ...context.counters,
          events: context.counters.events + 1,
          alerts: context.counters.alerts + (isAlert ? 1 : 0),
        },
      };
    }),
    rememberFacts: assign(({ context, event }) => {
      if (event.type !== "online") return {};
      const { name, model, capabilities } = event.facts;
      return {
        name: name ?? context.name,
        model: model ?? context.model,
        capabilities: capabilities ?? context.capabilities,
      };
    }),
    countOnline: assign(({ context }) => counted(context, "onlines")),
    countOffline: assign(({ context }) => counted(context, "offlines")),
    stampTime: assign(() => ({ sinceMs: now() })),
    openAlert: assign(() => ({ alertedAtMs: now() })),
    closeAlert: assign(() => ({ alertedAtMs: null })),
    alertOffline: publish(ALERT_POOL, ({ context }) => alertOf(context, "active")),
    alertResolved: publish(ALERT_POOL, ({ context }) => alertOf(context, "resolved")),
    tellHost: enqueueActions(({ context: { host, device }, enqueue }, { type }: Pick<HostMessage, "type">) => {
      if (host !== "") enqueue.sendTo(ref("host", host), { type, device });
    }),
    noteHost: assign((_, { isDown }: { readonly isDown: boolean }) => ({ isHostDown: isDown })),
    /** Nobody can drive what hangs on a host that is gone: its lock ends its grants and waits. */
    tellLock: enqueueActions(({ context, enqueue }, { type }: { readonly type: "hostLost" | "hostBack" }) => {
      enqueue.sendTo(ref("resource", context.id), { type });
    }),
  },
}).createMachine({
  id: "device",
  context: ({ input }) => ({
    id: input.id,
    host: placeOf(input.id)?.host ?? "",
    device: placeOf(input.id)?.device ?? input.id,
    name: null,
    model: null,
    capabilities: null,
    sinceMs: null,
    alertedAtMs: null,
    isHostDown: false,
    lastEvent: null,
    alerts: [],
    counters: { events: 0, alerts: 0, onlines: 0, offlines: 0 },
  }),
  initial: "unknown",
  on: { observed: { actions: "rememberEvent" } },
  states: {
    unknown: { on: { online: { target: "online", actions: "rememberFacts" }, silent: "suspect" } },
    online: {
      entry: ["stampTime", "countOnline", { type: "tellHost", params: { type: "deviceThere" } }],
      on: {
        online: { actions: "rememberFacts" },
        silent: "suspect",
        hostUp: hostIsUp,
      },
      after: { stability: { guard: "isAlertOpen", actions: ["alertResolved", "closeAlert"] } },
    },
    /** Not heard of for longer than the server waits, and not yet for long. */
    suspect: {
      entry: "stampTime",
      on: { online: { target: "online", actions: "rememberFacts" }, hostUp: hostIsUp },
      after: { suspicion: { target: "offline", actions: "countOffline" } },
    },
    offline: {
      entry: { type: "tellHost", params: { type: "deviceAway" } },
      on: {
        online: { target: "online", actions: "rememberFacts" },
        hostDown: {
          guard: "isFromHost",
          actions: [
            { type: "noteHost", params: { isDown: true } },
            { type: "tellLock", params: { type: "hostLost" } },
          ],
        },
        // Entered anew: from now on this device's own silence counts.
        hostUp: { ...hostIsUp, target: "offline", reenter: true },
      },
      after: { offlineAlert: { guard: "mayAlert", actions: ["alertOffline", "openAlert"] } },
    },
  },
});

/** With its host, where a node says by the label `host` that it is there; anywhere until one does. */
export const deviceKind = defineActor({
  kind: "device",
  machine,
  version: 2,
  // Version 1 knew neither open alerts nor hosts.
  migrate: (stored) => ({
    ...stored,
    context: { alertedAtMs: null, isHostDown: false, ...(stored.context as object) },
  }),
  publishStatus: true,
  placement: { label: "host" },
});
