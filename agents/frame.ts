/**
 * What an analysed frame of a device says. Invariant: only a frame that was wholly measured can be healthy; what was not
 * measured is unknown, and a device without audio has lost none.
 */
import { isFields } from "./skill-result.ts";

export type Verdict = "healthy" | "blackscreen" | "freeze" | "macroblocks" | "audio_loss" | "unknown";

export interface FrameVerdict {
  readonly verdict: Verdict;
  readonly reason: string;
}

const unknown = (reason: string): FrameVerdict => ({ verdict: "unknown", reason });

/** Judges a frame. The gravest fault counts: black screen before freeze, macroblocks and loss of audio. */
export function judgeFrame(frame: unknown): FrameVerdict {
  if (!isFields(frame)) return unknown("The analysis is no object");
  const { blackscreen, freeze, macroblocks, audio, error } = frame;
  if (error !== undefined && error !== null && error !== "")
    return unknown(`The analysis is degraded: ${JSON.stringify(error)}`);
  // A fault that was seen stands, whatever else was not measured.
  if (blackscreen === true)
    return { verdict: "blackscreen", reason: `The screen is black${percent(frame["blackscreen_percentage"])}` };
  if (freeze === true) return { verdict: "freeze", reason: "The picture does not move" };
  if (macroblocks === true) return { verdict: "macroblocks", reason: "The picture has macroblocks" };
  if (blackscreen !== false || freeze !== false)
    return unknown('The analysis measured no "blackscreen" or no "freeze"');
  if (audio === false) return { verdict: "audio_loss", reason: "There is a picture and no sound" };
  return {
    verdict: "healthy",
    reason: audio === true ? "Picture and sound are there" : "The picture is there; sound was not measured",
  };
}

const percent = (value: unknown): string => (typeof value === "number" ? ` to ${value} %` : "");
