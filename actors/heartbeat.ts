/** Reads the stream PRESENCE. Invariant: pure and total; a heartbeat proves presence whatever stands in its body. */
import type { Names } from "../nats-config/subjects.ts";
import { MAX_ID_LENGTH } from "../runtime/address.ts";
import { sizeOf } from "../runtime/codec.ts";
import type { StoredMessage } from "../runtime/port.ts";
import { fieldsOf } from "./classify.ts";
import type { DeviceFacts } from "./messages/device.ts";
import { deviceId, type DevicePlace } from "./messages/event.ts";

export interface Heard {
  readonly place: DevicePlace;
  /** Null: the server removed the last heartbeat because it grew too old. */
  readonly facts: DeviceFacts | null;
}

/** Longest model and name, in characters. Longer ones are left out. */
const TEXT_LIMIT_CHARS = 128;
/** Largest capabilities, in characters of JSON. Larger ones are left out: every device actor keeps a copy. */
const CAPABILITIES_LIMIT_CHARS = 8_192;
/** The server's word for why a delete marker stands where a message was. */
const MARKER = "Nats-Marker-Reason";
const HOST = /^[A-Za-z0-9_@=+~-]+$/;
const DEVICE = /^[A-Za-z0-9_:@=+~-]+$/;

/** Null: the subject names no device that could have an actor. */
export function readHeartbeat(message: Pick<StoredMessage, "subject" | "data" | "header">, names: Names): Heard | null {
  const [root, host = "", device = "", verb] = message.subject.split(".");
  const place = { host, device };
  if (
    root !== names.deviceRoot ||
    verb !== "heartbeat" ||
    !HOST.test(host) ||
    !DEVICE.test(device) ||
    deviceId(place).length > MAX_ID_LENGTH
  )
    return null;
  return { place, facts: message.header(MARKER) === undefined ? factsIn(message.data) : null };
}

function factsIn(data: Uint8Array): DeviceFacts {
  let body: Readonly<Record<string, unknown>>;
  try {
    body = fieldsOf(JSON.parse(new TextDecoder().decode(data)));
  } catch {
    return {}; // an empty or foreign body says nothing more than that the device is there
  }
  const { model, name, capabilities } = body as { readonly [K in keyof DeviceFacts]: unknown };
  return {
    ...(isText(model) && { model }),
    ...(isText(name) && { name }),
    ...(isKept(capabilities) && { capabilities }),
  };
}

/** What the device's actor can keep. Its depth is looked at first: printing what is nested too deep throws. */
function isKept(capabilities: unknown): capabilities is NonNullable<DeviceFacts["capabilities"]> {
  if (typeof capabilities !== "object" || capabilities === null) return false;
  try {
    sizeOf({ facts: { capabilities } }, "The heartbeat");
  } catch {
    return false;
  }
  return JSON.stringify(capabilities).length <= CAPABILITIES_LIMIT_CHARS;
}

const isText = (value: unknown): value is string =>
  typeof value === "string" && value !== "" && value.length <= TEXT_LIMIT_CHARS && value.isWellFormed();
