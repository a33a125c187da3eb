/** A picture of what the device shows. Invariant: it succeeds only with evidence of the picture. */
import { commandDevice } from "../device-door.ts";
import { defineSkill } from "../skill.ts";

export const captureScreenshot = defineSkill({
  id: "capture_screenshot",
  description: "Takes a screenshot of the locked device",
  needsDevice: true,
  args: { required: [], optional: [] },
  run: async (_args, run) => {
    const result = await commandDevice(run, "capture_screenshot");
    const isBare = result.status === "succeeded" && (result.evidence ?? []).length === 0;
    return isBare
      ? { ...result, status: "failed", message: "The driver said it took a screenshot and gave no evidence of it" }
      : result;
  },
});
