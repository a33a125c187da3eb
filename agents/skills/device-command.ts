/** Any command of the device's driver. Invariant: evidence is the driver's own, never made up here. */
import { commandDevice } from "../device-door.ts";
import { defineSkill } from "../skill.ts";
import { isFields } from "../skill-result.ts";

export const deviceCommand = defineSkill({
  id: "device_command",
  description: "Sends a command with its parameters to the locked device",
  needsDevice: true,
  args: { required: ["command"], optional: ["params"] },
  run: async ({ command, params = {} }, run) => {
    if (typeof command !== "string" || command === "")
      return { status: "failed", message: 'The argument "command" is no text: name a command of the driver' };
    if (!isFields(params))
      return { status: "failed", message: 'The argument "params" is no mapping: write names and values' };
    return commandDevice(run, command, params);
  },
});
