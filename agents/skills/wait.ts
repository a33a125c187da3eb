/** A pause between steps. Invariant: it proves nothing, so it gives no evidence. */
import { AbortedError } from "../../runtime/errors.ts";
import { sleep } from "../../runtime/clock.ts";
import { defineSkill } from "../skill.ts";

/** Longest pause, in ms: longer ones belong in the schedule, not in a step that holds a device. */
const MAX_WAIT_MS = 600_000;

export const wait = defineSkill({
  id: "wait",
  description: "Waits for some ms",
  needsDevice: false,
  args: { required: ["ms"], optional: [] },
  run: async ({ ms }, run) => {
    if (typeof ms !== "number" || !(ms >= 0 && ms <= MAX_WAIT_MS))
      return {
        status: "failed",
        message: `The argument "ms" is ${JSON.stringify(ms) ?? "undefined"}: give 0 to ${MAX_WAIT_MS}`,
      };
    try {
      await sleep(run.clock, ms, run.signal);
    } catch (cause) {
      throw new AbortedError("The wait was aborted", { cause });
    }
    return { status: "succeeded", output: { waitedMs: ms } };
  },
});
