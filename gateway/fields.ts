/**
 * Reading an actor's context, which another version of the code may have written. Invariant: never throws; what is not
 * of the expected form is null or empty.
 */
import { isObject, type JsonObject } from "./json.ts";

export const text = (value: unknown): string | null => (typeof value === "string" ? value : null);
export const number = (value: unknown): number | null => (typeof value === "number" ? value : null);
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
export const part = (value: unknown): JsonObject => (isObject(value) ? value : {});

/** The first word of a state value: of `{ running: "step" }` it is `running`. */
export const stateName = (value: unknown): string =>
  typeof value === "string" ? value : (Object.keys(part(value))[0] ?? "unknown");
