/** One key of the device's remote control. Invariant: a repeated attempt of one invocation presses once. */
import { commandDevice } from "../device-door.ts";
import { defineSkill } from "../skill.ts";

/** Names of keys as remotes have them: `HOME`, `CHANNEL_UP`, `1`. */
const KEY = /^[A-Za-z0-9_]{1,40}$/;

export const pressKey = defineSkill({
  id: "press_key",
  description: "Presses a key of the locked device's remote control",
  needsDevice: true,
  args: { required: ["key"], optional: [] },
  run: async ({ key }, run) => {
    const name = typeof key === "number" ? String(key) : key; // YAML reads the key 1 as a number
    if (typeof name !== "string" || !KEY.test(name))
      return {
        status: "failed",
        message: `The key ${JSON.stringify(key) ?? "undefined"} is not valid: write a name like "HOME"`,
      };
    return commandDevice(run, "press_key", { key: name });
  },
});
