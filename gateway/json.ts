/**
 * JSON in and out. Invariant: what passes {@link checkPlain} can be stored and handed to actors; what actors hold can
 * always be shown.
 */
import { GatewayError } from "./errors.ts";

/** Deepest nesting of a body. Half of the runtime's bound: an event travels inside messages and contexts. */
export const BODY_MAX_DEPTH = 32;

/**
 * Checks a parsed body. Iterative: the input decides how deep it goes.
 * @throws {GatewayError} BAD_REQUEST: nested too deeply, or a number beyond JavaScript's range.
 */
export function checkPlain(body: unknown): void {
  const open: { value: unknown; depth: number }[] = [{ value: body, depth: 0 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next;
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new GatewayError("BAD_REQUEST", "The body holds a number that is too large: send it as a string");
    }
    if (typeof value !== "object" || value === null) continue;
    if (depth >= BODY_MAX_DEPTH) {
      throw new GatewayError("BAD_REQUEST", `The body nests deeper than ${BODY_MAX_DEPTH} levels: flatten it`);
    }
    for (const child of Object.values(value)) open.push({ value: child, depth: depth + 1 });
  }
}

/** JSON of anything an actor may hold: bytes as base64, whole numbers beyond JSON's as text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, shown: unknown) {
    // `shown` went through toJSON already, which turns a Buffer into a list of numbers.
    const held = this[key];
    if (held instanceof Uint8Array)
      return Buffer.from(held.buffer, held.byteOffset, held.byteLength).toString("base64");
    return typeof shown === "bigint" ? shown.toString() : shown;
  });
}

export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
