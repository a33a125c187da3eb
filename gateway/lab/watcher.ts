/**
 * Watches a device's frames and reports incidents, as a lab host's monitor does. Invariant: an alert follows from frames alone;
 * an analysis that could not be completed neither begins nor ends one.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { SimulatedDevice } from "./device.ts";
import { type FrameAnalysis, frameName } from "./frame.ts";

/** Pause between two analysed captures, in ms. */
export const ANALYSE_EVERY_MS = 500;
/** Captures in sequence that must show the same fault before it is reported: 2 s, longer than a device boots. */
export const REPORT_AFTER = 4;

/** What a lab reports, worst first: of two faults in one picture the first counts. */
const FAULTS = ["blackscreen", "freeze", "macroblocks"] as const;
export type Fault = (typeof FAULTS)[number];

/** Field names of a real lab's alert records. */
export interface AlertRecord {
  readonly id: string;
  readonly host_name: string;
  readonly device_id: string;
  readonly device_name: string;
  readonly incident_type: Fault;
  readonly status: "active" | "resolved";
  readonly consecutive_count: number;
  readonly start_time: string;
  readonly end_time: string | null;
  readonly checked: false;
  readonly check_type: null;
  readonly discard: false;
  readonly metadata: Readonly<Record<string, unknown>>;
}

const iso = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** A random id in the usual grouping. */
export function uuid(clock: Clock): string {
  const hex = clock.randomId(16);
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20)].join("-");
}

const faultOf = (analysis: FrameAnalysis): Fault | null => FAULTS.find((fault) => analysis[fault]) ?? null;

export class FrameWatcher {
  readonly #device: SimulatedDevice;
  readonly #clock: Clock;
  readonly #report: (alert: AlertRecord) => void;
  #fault: Fault | null = null;
  #seen = 0;
  #open: AlertRecord | null = null;

  constructor(device: SimulatedDevice, clock: Clock, report: (alert: AlertRecord) => void) {
    this.#device = device;
    this.#clock = clock;
    this.#report = report;
  }

  /** Judges the picture as of now. */
  look(): void {
    const capture = this.#device.capture();
    const analysis = this.#device.analyse(capture);
    if ("error" in analysis) return;
    const fault = faultOf(analysis);
    this.#seen = fault === this.#fault ? this.#seen + 1 : 1;
    this.#fault = fault;
    if (this.#open !== null && fault !== this.#open.incident_type) this.#resolve(this.#open);
    if (fault !== null && this.#open === null && this.#seen >= REPORT_AFTER) this.#raise(fault, analysis, capture.n);
  }

  #resolve(alert: AlertRecord): void {
    this.#open = null;
    this.#report({ ...alert, status: "resolved", end_time: iso(this.#clock.now()) });
  }

  #raise(fault: Fault, analysis: FrameAnalysis, n: number): void {
    const { host, facts } = this.#device;
    const startMs = this.#clock.now() - (REPORT_AFTER - 1) * ANALYSE_EVERY_MS;
    this.#open = {
      id: uuid(this.#clock),
      host_name: host,
      device_id: facts.id,
      device_name: facts.name,
      incident_type: fault,
      status: "active",
      consecutive_count: 1,
      start_time: iso(startMs),
      end_time: null,
      checked: false,
      check_type: null,
      discard: false,
      metadata: {
        audio: analysis.audio,
        freeze: analysis.freeze,
        blackscreen: analysis.blackscreen,
        macroblocks: analysis.macroblocks,
        filename: analysis.filename,
        freeze_diffs: analysis.freeze_diffs,
        mean_volume_db: analysis.mean_volume_db,
        volume_percentage: analysis.volume_percentage,
        blackscreen_percentage: analysis.blackscreen_percentage,
        last_3_filenames: [n - 2, n - 1, n].map(frameName),
      },
    };
    this.#report(this.#open);
  }
}
