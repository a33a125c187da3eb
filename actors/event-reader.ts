/**
 * Turns what stands in the streams of ingress and pools into events. Invariant: pure; who sent an event, its type and
 * its device come from the subject where that names them, because permissions guard subjects, not bodies.
 */
import type { Names } from "../nats-config/subjects.ts";
import { MAX_ID_LENGTH } from "../runtime/address.ts";
import { sizeOf } from "../runtime/codec.ts";
import { PayloadError } from "../runtime/errors.ts";
import { isPriority, type Priority } from "../runtime/priority.ts";
import { classify, fieldsOf } from "./classify.ts";
import { cloudData } from "./cloud-data.ts";
import { deviceId, type DevicePlace, type LabEvent } from "./messages/event.ts";
import { routerId } from "./messages/router.ts";

/** The part of a stored message that is read. */
export interface Stored {
  readonly subject: string;
  readonly seq: number;
  readonly timeMs: number;
  readonly data: Uint8Array;
}

export interface PooledEvent {
  readonly event: LabEvent;
  readonly pool: string;
}

/** Largest body, in bytes: an event is kept in the state of the tasks that it starts. Frames and videos go by reference. */
export const EVENT_LIMIT_BYTES = 64 * 1_024;
/** Longest id and source, in characters: together they name the event in a header. */
const NAME_LIMIT_CHARS = 256;
/** Deepest data, in levels: below what the runtime stores, with room for the envelope. */
const DEPTH_LIMIT = 48;

const TYPE = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
/** Longest type, in characters: it stands in the pool's subject. */
const TYPE_LIMIT_CHARS = 128;
/** A host has no colon: the first one divides a device's id. */
const HOST = /^[A-Za-z0-9_@=+~-]+$/;
const DEVICE = /^[A-Za-z0-9_:@=+~-]+$/;

/**
 * Reads a message of the stream INGRESS.
 * @throws {PayloadError} Says what is wrong and what is expected.
 */
export function readIngress(stored: Stored, names: Names): PooledEvent {
  const tokens = stored.subject.split(".");
  const isDevice = tokens[0] === names.deviceRoot;
  const type = tokens.slice(isDevice ? 4 : 3).join(".");
  if (!TYPE.test(type) || type.length > TYPE_LIMIT_CHARS) {
    throw new PayloadError(
      `The event type "${type.slice(0, 80)}" is not valid: use words of A-Z a-z 0-9 _ - joined by dots, at most ${TYPE_LIMIT_CHARS} characters`,
    );
  }
  const body = readBody(stored.data);
  const cloud = body["specversion"] !== undefined;
  if (cloud) checkCloudEvent(body);
  const data = cloud ? cloudData(body) : body;
  const sender = isDevice ? placeFrom(tokens[1], tokens[2]) : null;
  if (isDevice && sender === null)
    throw new PayloadError(
      `The subject "${stored.subject}" names no device: use A-Z a-z 0-9 _ @ = + ~ - for its host and name`,
    );
  const { pool, priority } = classify(type, data, cloud ? body["priority"] : undefined);
  const event: LabEvent = {
    id: nameFrom(body["id"], `in-${stored.seq}`),
    source:
      sender === null
        ? nameFrom(cloud ? body["source"] : undefined, tokens[2] ?? "")
        : `device/${sender.host}/${sender.device}`,
    type,
    timeMs: timeFrom(cloud ? body["time"] : undefined, stored.timeMs),
    priority,
    data,
    device: sender ?? placeIn(data),
  };
  // Here, before it stands in a pool: what no actor can store would be refused once for its device and once for its router.
  sizeOf(event, "The event");
  return { event, pool };
}

/**
 * Reads a message of the stream POOL: events that came in, and those that actors published.
 * @throws {PayloadError} Says what is wrong.
 */
export function readPooled(stored: Stored): PooledEvent {
  const tokens = stored.subject.split(".").slice(2);
  const lane = tokens.findIndex((token, i) => i > 0 && isPriority(token));
  if (lane < 0 || lane === tokens.length - 1)
    throw new PayloadError(
      `The subject "${stored.subject}" has no pool, priority and type: publish to <pool>.<priority>.<type>`,
    );
  const pool = tokens.slice(0, lane).join(".");
  if (!DEVICE.test(routerId(pool)) || pool.length > MAX_ID_LENGTH)
    throw new PayloadError(`The pool "${pool}" cannot have a router: use A-Z a-z 0-9 _ - and dots`);
  const body = readBody(stored.data, 2 * EVENT_LIMIT_BYTES);
  const event: LabEvent = {
    id: nameFrom(body["id"], `pool-${stored.seq}`),
    source: nameFrom(body["source"], `pool/${pool}`),
    type: tokens.slice(lane + 1).join("."),
    timeMs: typeof body["timeMs"] === "number" ? body["timeMs"] : timeFrom(body["time"], stored.timeMs),
    priority: tokens[lane] as Priority,
    data: body["data"] ?? null,
    device:
      placeIn({ host: fieldsOf(body["device"])["host"], device: fieldsOf(body["device"])["device"] }) ??
      placeIn(body["data"]),
  };
  return { event, pool };
}

/** Only an event that names both host and device is about a device: there is no default one. */
function placeIn(data: unknown): DevicePlace | null {
  const fields = fieldsOf(data);
  return placeFrom(fields["host_name"], fields["device_id"]) ?? placeFrom(fields["host"], fields["device"]);
}

function placeFrom(host: unknown, device: unknown): DevicePlace | null {
  if (typeof host !== "string" || typeof device !== "string" || !HOST.test(host) || !DEVICE.test(device)) return null;
  const place = { host, device };
  return deviceId(place).length <= MAX_ID_LENGTH ? place : null;
}

function readBody(data: Uint8Array, limit = EVENT_LIMIT_BYTES): Readonly<Record<string, unknown>> {
  if (data.length > limit)
    throw new PayloadError(
      `The event takes ${data.length} bytes, more than ${limit}: store large data elsewhere and send its address`,
    );
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch (cause) {
    throw new PayloadError("The event is not JSON in UTF-8: send a JSON object, bare or as a CloudEvent", { cause });
  }
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new PayloadError("The event is not a JSON object: send one, bare or as a CloudEvent");
  if (isDeeper(body, DEPTH_LIMIT))
    throw new PayloadError(`The event is nested deeper than ${DEPTH_LIMIT} levels: flatten it`);
  return body as Readonly<Record<string, unknown>>;
}

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" &&
  value !== null &&
  (levels === 0 || Object.values(value).some((item) => isDeeper(item, levels - 1)));

function checkCloudEvent(body: Readonly<Record<string, unknown>>): void {
  if (body["specversion"] !== "1.0")
    throw new PayloadError(`The CloudEvent has specversion ${JSON.stringify(body["specversion"])}: send "1.0"`);
  for (const name of ["id", "source", "type"]) {
    const isNumberedId = name === "id" && typeof body[name] === "number";
    if (!isNumberedId && (typeof body[name] !== "string" || body[name] === ""))
      throw new PayloadError(`The CloudEvent has no "${name}": CloudEvents 1.0 requires id, source and type`);
  }
}

/** A name that is missing gets `otherwise`; one that is there must fit: a duplicate is known by it. */
function nameFrom(named: unknown, otherwise: string): string {
  if (named === undefined || named === null || named === "") return otherwise;
  // Beyond the safe integers different numbers read alike, and one event would pass for another.
  const isExact = typeof named === "number" && (Number.isSafeInteger(named) || !Number.isInteger(named));
  const value = isExact ? String(named) : named;
  if (typeof value !== "string")
    throw new PayloadError(
      `The name ${(JSON.stringify(value) ?? "undefined").slice(0, 40)} is no text and no exact number: send a string`,
    );
  if (value.length > NAME_LIMIT_CHARS)
    throw new PayloadError(
      `The name "${value.slice(0, 40)}…" has ${value.length} characters, more than ${NAME_LIMIT_CHARS}: shorten it`,
    );
  return value;
}

function timeFrom(value: unknown, otherwise: number): number {
  const parsed = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(parsed) ? Math.floor(otherwise) : parsed;
}
