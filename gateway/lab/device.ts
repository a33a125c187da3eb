/** One simulated device: its screen, its frames, and what its driver can do with it. Invariant: a picture is a function of the screen and the time. */
import { type Clock, sleep } from "../../runtime/clock.ts";
import type { LabDevice } from "./hosts.ts";
import {
  analyseCapture,
  type Capture,
  captureFrames,
  DEGRADED_FRAME,
  type DegradedFrame,
  type FrameAnalysis,
} from "./frame.ts";
import {
  beginIncident,
  booted,
  cutPower,
  endIncident,
  type IncidentKind,
  INITIAL_SCREEN,
  type Key,
  pressKey,
  type Screen,
} from "./screen.ts";

/** Frames a second, as a lab host captures them. */
export const VIDEO_FPS = 10;
/** How long a device shows nothing after its power returned, in ms: shorter than what the watcher reports as a black screen. */
export const BOOT_MS = 1_500;
/** How long a key needs until the picture follows, in ms. */
export const KEY_MS = 150;
/** How long a capture of three frames takes, in ms. */
export const CAPTURE_MS = 100;

export class SimulatedDevice {
  readonly host: string;
  readonly facts: LabDevice;
  readonly #clock: Clock;
  #screen: Screen = INITIAL_SCREEN;
  #drivenAtMs = Number.NEGATIVE_INFINITY;

  constructor(host: string, facts: LabDevice, clock: Clock) {
    this.host = host;
    this.facts = facts;
    this.#clock = clock;
  }

  get screen(): Screen {
    return this.#screen;
  }

  /** True if a command came within the last `ms`: the simulation leaves a device alone that somebody drives. */
  drivenWithin(ms: number): boolean {
    return this.#clock.monotonic() - this.#drivenAtMs < ms;
  }

  /** The last three frames as of now. */
  capture(): Capture {
    const nowMs = this.#clock.now();
    return captureFrames(this.#screen, Math.floor((nowMs * VIDEO_FPS) / 1_000), nowMs);
  }

  analyse(capture: Capture = this.capture()): FrameAnalysis | DegradedFrame {
    if (this.#screen.incident === "degraded") return DEGRADED_FRAME;
    const { muted, volume, power, incident } = this.#screen;
    const silent = muted || power !== "on" || incident === "freeze" || incident === "blackscreen";
    return analyseCapture(capture, { volume: this.facts.audio ? (silent ? 0 : volume) : null });
  }

  begin(incident: IncidentKind): void {
    this.#screen = beginIncident(this.#screen, incident, this.capture().n);
  }

  end(): void {
    this.#screen = endIncident(this.#screen);
  }

  /** A key of the remote by the simulation itself, such as a zap. */
  zap(key: "CHANNEL_UP" | "CHANNEL_DOWN"): void {
    this.#screen = pressKey(this.#screen, key);
  }

  async press(key: Key, signal?: AbortSignal): Promise<void> {
    this.#driven();
    await sleep(this.#clock, KEY_MS, signal);
    this.#screen = pressKey(this.#screen, key);
    this.#driven();
  }

  async powerCycle(): Promise<void> {
    this.#driven();
    this.#screen = cutPower(this.#screen);
    await sleep(this.#clock, BOOT_MS);
    this.#screen = booted(this.#screen);
    this.#driven();
  }

  /** Waits for three frames taken after the call, so that what was done before shows in them. */
  async freshCapture(signal?: AbortSignal): Promise<Capture> {
    this.#driven();
    await sleep(this.#clock, CAPTURE_MS, signal);
    return this.capture();
  }

  #driven(): void {
    this.#drivenAtMs = this.#clock.monotonic();
  }
}
