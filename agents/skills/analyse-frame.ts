/** Verifies that the device shows a live picture. Invariant: it succeeds only on a healthy frame, kept as evidence. */
import { commandDevice } from "../device-door.ts";
import { judgeFrame } from "../frame.ts";
import { defineSkill } from "../skill.ts";
import { isFields } from "../skill-result.ts";

/** Fields of an analysis that show why it was judged so; the others stay with the device. */
const SHOWN = [
  "timestamp",
  "filename",
  "blackscreen",
  "blackscreen_percentage",
  "freeze",
  "freeze_diffs",
  "macroblocks",
  "quality_score",
  "audio",
  "error",
];

export const analyseFrame = defineSkill({
  id: "analyse_frame",
  description: "Asks the locked device for the analysis of its present frame and verifies that it is healthy",
  needsDevice: true,
  args: { required: [], optional: [] },
  run: async (_args, run) => {
    const answer = await commandDevice(run, "analyse_frame");
    if (answer.status !== "succeeded") return answer;
    const frame = answer.output;
    const { verdict, reason } = judgeFrame(frame);
    const status = verdict === "healthy" ? "succeeded" : verdict === "unknown" ? "unknown" : "failed";
    const measured = isFields(frame)
      ? Object.fromEntries(SHOWN.filter((key) => frame[key] !== undefined).map((key) => [key, frame[key]]))
      : {};
    const ref = typeof measured["filename"] === "string" ? { ref: measured["filename"] } : {};
    const analysis = { kind: "frame_analysis", at: run.clock.now(), ...ref, data: { verdict, ...measured } };
    return {
      status,
      output: { verdict, reason, ...measured },
      evidence: [...(answer.evidence ?? []), analysis],
      message: reason,
    };
  },
});
