/** What a device's driver can be told to do. Invariant: whatever it answers is evidence of the screen at that time, never of the wish. */
import { createHash } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import type { SimulatedDevice } from "./device.ts";
import { FRAME_HEIGHT, FRAME_WIDTH, frameName } from "./frame.ts";
import { isKey, KEYS } from "./screen.ts";

/** What was measured, and when. */
export interface CommandEvidence {
  readonly kind: string;
  /** Ms since 1970. */
  readonly at: number;
  /** Where the picture lies: host/device/file. */
  readonly ref?: string;
  readonly data?: unknown;
}

export type CommandAnswer =
  | {
      readonly ok: true;
      readonly output: unknown;
      readonly evidence: readonly CommandEvidence[];
      /** Nothing under the token runs, and nothing will. */
      readonly stopped?: true;
    }
  | { readonly ok: false; readonly code: string; readonly error: string };

type Params = Readonly<Record<string, unknown>>;
type Command = (
  device: SimulatedDevice,
  params: Params,
  at: { readonly clock: Clock; readonly signal: AbortSignal },
) => Promise<CommandAnswer>;

const refRoot = (device: SimulatedDevice): string => `${device.host}/${device.facts.id}`;

const screenFacts = ({ screen }: SimulatedDevice) => ({
  power: screen.power,
  app: screen.app,
  channel: screen.channel,
  volume: screen.volume,
  muted: screen.muted,
});

const screenshot: Command = async (device, _params, { clock, signal }) => {
  const { n, frames } = await device.freshCapture(signal);
  const filename = frameName(n);
  const sha256 = createHash("sha256").update(frames[2]).digest("hex");
  const output = { filename, width: FRAME_WIDTH, height: FRAME_HEIGHT, sha256 };
  const ref = `${refRoot(device)}/${filename}`;
  return { ok: true, output, evidence: [{ kind: "screenshot", at: clock.now(), ref, data: output }] };
};

const frame: Command = async (device, _params, { clock, signal }) => {
  const capture = await device.freshCapture(signal);
  const output = device.analyse(capture);
  // A degraded analysis measured nothing: it is an answer, but no evidence.
  if ("error" in output) return { ok: true, output, evidence: [] };
  const ref = `${refRoot(device)}/${output.filename}`;
  return { ok: true, output, evidence: [{ kind: "frame_analysis", at: clock.now(), ref, data: output }] };
};

const press: Command = async (device, params, { clock, signal }) => {
  const { key } = params;
  if (!isKey(key)) {
    return {
      ok: false,
      code: "BAD_PARAMS",
      error: `The key ${JSON.stringify(key) ?? "undefined"} is not on the remote: use one of ${KEYS.join(", ")}`,
    };
  }
  await device.press(key, signal);
  const output = { key, screen: screenFacts(device) };
  return { ok: true, output, evidence: [{ kind: "key_press", at: clock.now(), data: output }] };
};

/** Goes on though it is to stop: a device that was left without power would be worse. */
const powerCycle: Command = async (device, _params, { clock }) => {
  await device.powerCycle();
  const output = { via: device.facts.capabilities.power ?? "reboot", screen: screenFacts(device) };
  return { ok: true, output, evidence: [{ kind: "power_cycle", at: clock.now(), data: output }] };
};

const COMMANDS: ReadonlyMap<string, Command> = new Map([
  ["screenshot", screenshot],
  ["capture_screenshot", screenshot],
  ["frame", frame],
  ["analyse_frame", frame],
  ["press_key", press],
  ["power_cycle", powerCycle],
]);

/** Runs one command on the device. Refusals are answers; of what a caller sends only the signal makes it throw. */
export async function runCommand(
  device: SimulatedDevice,
  command: string,
  params: Params,
  at: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<CommandAnswer> {
  const known = COMMANDS.get(command);
  if (known !== undefined) return await known(device, params, at);
  return {
    ok: false,
    code: "UNKNOWN_COMMAND",
    error: `The command ${JSON.stringify(command)} is not known here: use one of ${[...COMMANDS.keys()].join(", ")}`,
  };
}
