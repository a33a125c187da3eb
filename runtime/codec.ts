/**
 * Bytes of messages, records and states. Invariant: what passes {@link sizeOf} comes back equal from storage, and the same
 * value always gives the same bytes.
 */
import { Packr } from "msgpackr";
import { CorruptRecordError, PayloadError } from "./errors.ts";
import { MAX_DEPTH } from "./limits.ts";

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

/** The bytes are valid for good: the packer never reuses a buffer that it gave away. */
export const encode = (value: unknown): Buffer => packr.pack(value);

/**
 * Decodes one value.
 * @throws {CorruptRecordError} Not MessagePack, or more than one value.
 */
export function decode(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes);
  } catch (cause) {
    throw new CorruptRecordError(`${bytes.length} bytes are not a MessagePack value: send what this version encodes`, {
      cause,
    });
  }
}

/**
 * Estimates the encoded size of `value` in bytes, never below the true one, and checks that it survives storage.
 * @throws {PayloadError} Names the path of a cycle, a function, symbol, bigint, Map, Set or class instance.
 */
export function sizeOf(value: unknown, what: string): number {
  const size = measure(value, 0);
  if (size >= 0) return size;
  throw new PayloadError(explain(value, what, 0) ?? `${what} cannot be stored: use plain data`);
}

/** Up to this many characters the worst case of UTF-8 is taken instead of counting. */
const SHORT_TEXT = 32;

/** -1: not storable. Kept free of paths and allocations: it runs for every message. */
function measure(value: unknown, depth: number): number {
  switch (typeof value) {
    case "string":
      return value.isWellFormed() ? textSize(value) : -1;
    case "number":
      return 9;
    case "boolean":
    case "undefined":
      return 4;
    case "object":
      return value === null ? 1 : measureObject(value, depth);
    default:
      return -1;
  }
}

const textSize = (text: string): number => (text.length <= SHORT_TEXT ? text.length * 3 : Buffer.byteLength(text)) + 5;

function measureObject(value: object, depth: number): number {
  if (depth >= MAX_DEPTH) return -1;
  let size = 5;
  if (Array.isArray(value)) {
    for (const item of value) {
      const part = measure(item, depth + 1);
      if (part < 0) return -1;
      size += part;
    }
    return size;
  }
  if (value instanceof Uint8Array) return value.length + 5;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? -1 : 15;
  const prototype = Object.getPrototypeOf(value) as unknown;
  if (prototype !== Object.prototype && prototype !== null) return -1;
  for (const key in value) {
    const part = measure((value as Record<string, unknown>)[key], depth + 1);
    // The packer renames this key and replaces half a surrogate pair.
    if (part < 0 || key === "__proto__" || !key.isWellFormed()) return -1;
    size += textSize(key) + part;
  }
  return size;
}

function explain(value: unknown, path: string, depth: number): string | undefined {
  if (typeof value !== "object" || value === null) {
    if (typeof value === "string" && !value.isWellFormed())
      return `${path} holds half a surrogate pair: send whole characters, or bytes`;
    return measure(value, 0) < 0 ? `${path} is a ${typeof value}: use plain data` : undefined;
  }
  if (depth >= MAX_DEPTH)
    return `${path.slice(0, 120)}… is nested deeper than ${MAX_DEPTH} levels, or refers to itself: flatten it`;
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null);
  if (!Array.isArray(value) && !isPlain && !(value instanceof Uint8Array) && !(value instanceof Date)) {
    return `${path} is a ${value.constructor?.name ?? "class instance"}: use a plain object, array, Date or Uint8Array`;
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) return `${path} is a Date without a time: use null`;
  for (const [key, item] of Object.entries(value)) {
    if (key === "__proto__" || !key.isWellFormed())
      return `${path} has the key ${JSON.stringify(key)}, which cannot be stored: rename it`;
    const found = explain(item, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
