/** The skills that every node has. Invariant: each is idempotent under its invocation id. */
import type { Skill } from "../skill.ts";
import { analyseFrame } from "./analyse-frame.ts";
import { captureScreenshot } from "./capture-screenshot.ts";
import { deviceCommand } from "./device-command.ts";
import { pressKey } from "./press-key.ts";
import { wait } from "./wait.ts";

export const builtInSkills: readonly Skill[] = [deviceCommand, captureScreenshot, pressKey, analyseFrame, wait];
