/**
 * A device of the lab: who it is, whether it is there, what it last said. Invariant: only presence moves it between
 * online and offline, and one silence raises one alert however often it is reported.
 */
import { assign, setup } from "xstate";
import { publish } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import type { Priority } from "../runtime/priority.ts";
import { now } from "../runtime/transition-scope.ts";
import { ALERT_POOL, DEVICE_OFFLINE, type DeviceMessage } from "./messages/device.ts";
import { placeOf } from "./messages/event.ts";

/** A device offline for this long is worth waking somebody, in ms: spec 000 §3.1, "Device offline for 5 minutes". */
export const OFFLINE_ALERT_MS = 300_000;
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
  return { sinceMs: now(), counters: { ...context.counters, [what]: context.counters[what] + 1 } };
}

const machine = setup({
  types: {} as { context: DeviceContext; events: DeviceMessage; input: { readonly id: string } },
  delays: { offlineAlert: OFFLINE_ALERT_MS },
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
    alertOffline: publish(ALERT_POOL, ({ context }) => ({
      type: DEVICE_OFFLINE,
      priority: "critical",
      data: {
        host_name: context.host,
        device_id: context.device,
        device_name: context.name,
        device_model: context.model,
        incident_type: "device_offline",
        status: "active",
        offline_since_ms: context.sinceMs,
      },
    })),
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
    lastEvent: null,
    alerts: [],
    counters: { events: 0, alerts: 0, onlines: 0, offlines: 0 },
  }),
  initial: "unknown",
  on: { observed: { actions: "rememberEvent" } },
  states: {
    unknown: { on: { online: { target: "online", actions: "rememberFacts" }, silent: "offline" } },
    online: { entry: "countOnline", on: { online: { actions: "rememberFacts" }, silent: "offline" } },
    offline: {
      entry: "countOffline",
      on: { online: { target: "online", actions: "rememberFacts" } },
      after: { offlineAlert: { actions: "alertOffline" } },
    },
  },
});

/** With its host, where a node says by the label `host` that it is there; anywhere until one does. */
export const deviceKind = defineActor({ kind: "device", machine, publishStatus: true, placement: { label: "host" } });
