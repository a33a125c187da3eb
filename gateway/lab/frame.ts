/**
 * Frames of a simulated device and their analysis. Invariant: the verdict is computed from the pixels of three frames in
 * sequence, as a lab host does it, and never copied from the incident that was injected.
 */
import { fnv1a } from "../../runtime/address.ts";
import type { Screen } from "./screen.ts";

export const FRAME_WIDTH = 32;
export const FRAME_HEIGHT = 20;
/** Side of the squares in which a damaged video decoder leaves the picture, in pixels. */
const BLOCK = 4;

/** A pixel darker than this (0 to 255) counts as black. */
const BLACK_LUMA = 10;
/** The rows that are looked at, as parts of the height: below lie subtitles and banners, above the clock. */
const REGION = [0.05, 0.7] as const;
const REGION_NAME = "5-70%";
/** Share of black pixels from which a frame is a black screen, in percent. */
const BLACK_PERCENT = 85;
/** Mean difference of two frames below which nothing moved, in luma. Sensor noise stays under it. */
const FREEZE_LUMA = 0.5;
/** Share of flat squares from which a picture counts as broken, in percent. */
const MACROBLOCK_PERCENT = 60;
/** Luma step between neighbours that counts as an edge. */
const EDGE_LUMA = 24;
/** Where the bottom banner begins, as part of the height, and the edge density that shows one. */
const BOTTOM_FROM = 0.8;
const BOTTOM_DENSITY = 0.05;
/** What the meter shows without any sound, in dB. */
const SILENCE_DB = -91;

export type Frame = Uint8Array;

/** Field names of a real lab's frame records. */
export interface FrameAnalysis {
  readonly timestamp: string;
  readonly filename: string;
  readonly blackscreen: boolean;
  readonly blackscreen_percentage: number;
  readonly blackscreen_threshold: number;
  readonly blackscreen_region: string;
  readonly zap: boolean;
  readonly has_bottom_content: boolean;
  readonly bottom_edge_density: number;
  readonly freeze: boolean;
  readonly freeze_diffs: readonly number[];
  readonly macroblocks: boolean;
  readonly quality_score: number;
  /** Null: the capture carries no sound. */
  readonly audio: boolean | null;
  readonly volume_percentage: number | null;
  readonly mean_volume_db: number | null;
}

/** An analysis that could not be completed: says nothing about the picture. */
export interface DegradedFrame {
  readonly analyzed: true;
  readonly subtitle_ocr_pending: true;
  readonly error: string;
}

const noise = (...parts: readonly (number | string)[]): number => fnv1a(parts.join(","));
const round = (value: number, digits: number): number => Number(value.toFixed(digits));

function pixel(screen: Screen, n: number, x: number, y: number): number {
  if (screen.power !== "on" || screen.incident === "blackscreen") return noise(x, y, n) % 4;
  if (screen.incident === "macroblocks") return 40 + (noise(n, Math.floor(x / BLOCK), Math.floor(y / BLOCK)) % 180);
  const shown = screen.incident === "freeze" ? screen.frozenAt : n;
  const scene = noise(screen.app, screen.app === "live" ? screen.channel : 0) % 60;
  const moving = 50 * Math.sin((x + shown * 3) / 5 + y / 4);
  const banner = y >= FRAME_HEIGHT * BOTTOM_FROM && screen.app !== "player" && x % 6 < 2 ? 60 : 0;
  return Math.max(16, Math.min(255, Math.round(90 + scene + moving + (noise(x, y) % 12) + banner)));
}

/** Frame number `n` of what the device shows, one byte of brightness a pixel. */
export function renderFrame(screen: Screen, n: number): Frame {
  return Uint8Array.from({ length: FRAME_WIDTH * FRAME_HEIGHT }, (_, i) =>
    pixel(screen, n, i % FRAME_WIDTH, Math.floor(i / FRAME_WIDTH)),
  );
}

export const frameName = (n: number): string => `capture_${String(n % 10_000).padStart(4, "0")}.jpg`;

const at = (frame: Frame, x: number, y: number): number => frame[y * FRAME_WIDTH + x] ?? 0;

function meanDifference(one: Frame, other: Frame): number {
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += Math.abs((one[i] ?? 0) - (other[i] ?? 0));
  return round(sum / one.length, 2);
}

function blackPercentage(frame: Frame): number {
  const [from, to] = [Math.floor(FRAME_HEIGHT * REGION[0]), Math.floor(FRAME_HEIGHT * REGION[1])];
  const region = frame.subarray(from * FRAME_WIDTH, to * FRAME_WIDTH);
  return round((100 * region.filter((luma) => luma < BLACK_LUMA).length) / region.length, 1);
}

function flatBlockPercentage(frame: Frame): number {
  let flat = 0;
  let blocks = 0;
  for (let y = 0; y < FRAME_HEIGHT; y += BLOCK) {
    for (let x = 0; x < FRAME_WIDTH; x += BLOCK) {
      const first = at(frame, x, y);
      let same = true;
      for (let i = 0; i < BLOCK * BLOCK && same; i++)
        same = at(frame, x + (i % BLOCK), y + Math.floor(i / BLOCK)) === first;
      blocks++;
      if (same) flat++;
    }
  }
  return (100 * flat) / blocks;
}

function bottomEdgeDensity(frame: Frame): number {
  let edges = 0;
  let pairs = 0;
  for (let y = Math.floor(FRAME_HEIGHT * BOTTOM_FROM); y < FRAME_HEIGHT; y++) {
    for (let x = 1; x < FRAME_WIDTH; x++) {
      pairs++;
      if (Math.abs(at(frame, x, y) - at(frame, x - 1, y)) > EDGE_LUMA) edges++;
    }
  }
  return round(edges / pairs, 3);
}

/** Three frames in sequence, the last one named `n`. */
export interface Capture {
  readonly n: number;
  readonly atMs: number;
  readonly frames: readonly [Frame, Frame, Frame];
}

export const captureFrames = (screen: Screen, n: number, atMs: number): Capture => ({
  n,
  atMs,
  frames: [renderFrame(screen, n - 2), renderFrame(screen, n - 1), renderFrame(screen, n)],
});

export interface Sound {
  /** Null: the capture carries none. */
  readonly volume: number | null;
}

/** Judges a capture. Pure. */
export function analyseCapture({ n, atMs, frames }: Capture, sound: Sound): FrameAnalysis {
  const [first, second, last] = frames;
  const black = blackPercentage(last);
  const blackscreen = black > BLACK_PERCENT;
  const diffs = blackscreen
    ? []
    : [meanDifference(first, second), meanDifference(second, last), meanDifference(first, last)];
  const freeze = !blackscreen && diffs.every((diff) => diff < FREEZE_LUMA);
  const macroblocks = !blackscreen && flatBlockPercentage(last) > MACROBLOCK_PERCENT;
  const density = blackscreen ? 0 : bottomEdgeDensity(last);
  const { volume } = sound;
  return {
    timestamp: new Date(atMs).toISOString(),
    filename: frameName(n),
    blackscreen,
    blackscreen_percentage: black,
    blackscreen_threshold: BLACK_LUMA,
    blackscreen_region: REGION_NAME,
    zap: false,
    has_bottom_content: density > BOTTOM_DENSITY,
    bottom_edge_density: density,
    freeze,
    freeze_diffs: diffs,
    macroblocks,
    quality_score: blackscreen ? 0 : macroblocks ? 21.5 : freeze ? 60 : 97.5,
    audio: volume === null ? null : volume > 0,
    volume_percentage: volume,
    mean_volume_db: volume === null ? null : volume === 0 ? SILENCE_DB : round(-60 + volume * 0.45, 1),
  };
}

export const DEGRADED_FRAME: DegradedFrame = {
  analyzed: true,
  subtitle_ocr_pending: true,
  error: "failed_to_save_full_data",
};
