/** What goes wrong in the lab, and when. Invariant: one seed and host give one plan. */
import { type Chance, seededChance } from "./chance.ts";
import type { LabHost } from "./hosts.ts";
import type { IncidentKind } from "./screen.ts";

export interface PlanOptions {
  readonly seed: number;
  /** Until the first black screen, in ms. */
  readonly firstIncidentMs: number;
  /** Pause between two incidents of a host, in ms. */
  readonly minGapMs: number;
  readonly maxGapMs: number;
}

/** Soon enough that a demo shows something at once; late enough that the first heartbeat went before, in ms. */
export const FIRST_INCIDENT_MS = 2_000;
export const MIN_GAP_MS = 20_000;
export const MAX_GAP_MS = 40_000;

export interface PlannedIncident {
  /** Since the one before, in ms. */
  readonly afterMs: number;
  readonly device: string;
  readonly kind: IncidentKind | "silence";
  /** How long it lasts if nobody mends it, in ms. */
  readonly durationMs: number;
}

export interface PlannedZap {
  readonly afterMs: number;
  readonly device: string;
  readonly key: "CHANNEL_UP" | "CHANNEL_DOWN";
  /** Seconds from the key to the new channel's picture, and of the black between. */
  readonly durationS: number;
  readonly blackS: number;
}

/** In hundredths: black screens are what labs see most. */
const KINDS: readonly (readonly [PlannedIncident["kind"], number])[] = [
  ["blackscreen", 50],
  ["freeze", 25],
  ["macroblocks", 12],
  ["silence", 8],
  ["degraded", 5],
];

/** A picture that nobody mends stays broken for this long, in ms. */
const INCIDENT_MS = [60_000, 120_000] as const;
/** A silence is longer than the presence's time to live, so that it is noticed, in ms. */
const SILENCE_MS = [20_000, 30_000] as const;
/** A capture that cannot be analysed recovers by itself, in ms. */
const DEGRADED_MS = [4_000, 8_000] as const;
/** Pause between two zaps of a host, in ms. */
const ZAP_GAP_MS = [8_000, 16_000] as const;

function kindOf(chance: Chance): PlannedIncident["kind"] {
  let left = chance.whole(0, 99);
  for (const [kind, share] of KINDS) {
    if (left < share) return kind;
    left -= share;
  }
  return "blackscreen";
}

function deviceOf(chance: Chance, host: LabHost): string {
  return host.devices[chance.whole(0, host.devices.length - 1)]?.id ?? "";
}

/** The incidents of a host, without end. The first is a black screen on its first device. */
export function* incidentPlan(host: LabHost, options: PlanOptions): Generator<PlannedIncident, never> {
  const chance = seededChance(options.seed, `${host.name}/incidents`);
  let afterMs = options.firstIncidentMs;
  let kind: PlannedIncident["kind"] = "blackscreen";
  let device = host.devices[0]?.id ?? "";
  for (;;) {
    const [low, high] = kind === "silence" ? SILENCE_MS : kind === "degraded" ? DEGRADED_MS : INCIDENT_MS;
    yield { afterMs, device, kind, durationMs: chance.whole(low, high) };
    afterMs = chance.whole(options.minGapMs, options.maxGapMs);
    kind = kindOf(chance);
    device = deviceOf(chance, host);
  }
}

/** The zaps of a host, without end. */
export function* zapPlan(host: LabHost, seed: number): Generator<PlannedZap, never> {
  const chance = seededChance(seed, `${host.name}/zaps`);
  for (;;) {
    yield {
      afterMs: chance.whole(...ZAP_GAP_MS),
      device: deviceOf(chance, host),
      key: chance.next() < 0.7 ? "CHANNEL_UP" : "CHANNEL_DOWN",
      durationS: chance.whole(90, 260) / 100,
      blackS: chance.whole(20, 90) / 100,
    };
  }
}
