/**
 * Schemas that several routes share. Invariant: requests are closed (no unknown field), and every answer, also a
 * refusal, has a schema, so that the OpenAPI document tells the whole truth.
 */
import { MAX_ID_LENGTH, MAX_KIND_LENGTH } from "../runtime/address.ts";
import { PROBLEM_TYPE } from "./problem.ts";

export type Schema = Readonly<Record<string, unknown>>;

/** Items in one answer of a list, when the caller does not say. */
const PAGE_DEFAULT = 100;
/** Items in one answer of a list at most: keeps an answer readable and its reads within the deadline. */
const PAGE_MAX = 1_000;

export const KIND: Schema = {
  type: "string",
  pattern: `^[a-z][a-z0-9-]{0,${MAX_KIND_LENGTH - 1}}$`,
  description: `1 to ${MAX_KIND_LENGTH} of a-z 0-9 -, a letter first`,
};
export const ID: Schema = {
  type: "string",
  pattern: `^[A-Za-z0-9_:@=+~-]{1,${MAX_ID_LENGTH}}$`,
  description: `1 to ${MAX_ID_LENGTH} of A-Z a-z 0-9 _ : @ = + ~ -`,
};
/** Some are an id, others hold one: room for what stands before it. */
const CURSOR: Schema = {
  type: "string",
  pattern: `^[A-Za-z0-9_:@=+~-]{1,${MAX_ID_LENGTH + 32}}$`,
  description: "the `next` of the page before",
};
export const TEXT: Schema = { type: "string" };
export const WHOLE: Schema = { type: "integer" };
/** ms since 1970, or null for what has not happened. */
export const TIME_OR_NULL: Schema = { type: ["number", "null"], description: "ms since 1970" };
export const TIME: Schema = { type: "number", description: "ms since 1970" };
export const ANYTHING: Schema = {};

/** Of a view whose owner could not prove that it still is one. */
export const STALE: Readonly<Record<string, Schema>> = {
  stale: { const: true, description: "the owner's lease was not good: another node may know more" },
  staleSinceMs: { ...TIME, description: "until then it was the only owner for sure, ms since 1970" },
};
/** Both are absent of a view that is not stale. */
export const STALE_NAMES: readonly string[] = Object.keys(STALE);

export const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
export const listOf = (items: Schema): Schema => ({ type: "array", items });

/** A closed object; all properties are required unless named in `optional`. */
export function object(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", additionalProperties: false, properties, ...(required.length > 0 ? { required } : {}) };
}

/** A part of the system that is not well, and what is the matter with it. */
export const DEGRADED: Schema = listOf(
  object({ part: { enum: ["nats", "streams", "nodes", "writes"] }, detail: TEXT }),
);

const FAULT = object({ message: TEXT, path: TEXT, line: WHOLE, column: WHOLE, hint: TEXT }, [
  "path",
  "line",
  "column",
  "hint",
]);

export const PROBLEM_SCHEMA: Schema = {
  $id: "Problem",
  title: "Problem",
  ...object(
    {
      type: TEXT,
      title: TEXT,
      status: WHOLE,
      detail: TEXT,
      code: { type: "string", description: "stable, for programs" },
      instance: TEXT,
      errors: listOf(FAULT),
      stored: listOf(object({ id: TEXT, seq: WHOLE })),
      degraded: DEGRADED,
    },
    ["errors", "stored", "degraded"],
  ),
};

/** The query of a paged list: `limit`, and the `next` of the page before as `cursor`. */
export const paged = (filters: Readonly<Record<string, Schema>> = {}): Schema =>
  object(
    {
      ...filters,
      limit: { type: "integer", minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT },
      cursor: CURSOR,
    },
    [...Object.keys(filters), "limit", "cursor"],
  );

/** The answer of a paged list. `truncated`: there are more actors than a listing names, and some are missing. */
export const page = (item: Schema, cursor: Schema = TEXT): Schema =>
  object({ items: listOf(item), next: orNull(cursor), truncated: { type: "boolean" } });

/** Stands in a list for an actor whose state could not be read. */
export const UNREADABLE: Schema = object({
  id: TEXT,
  unreadable: { const: true },
  error: object({ code: TEXT, message: TEXT }),
});

const REFUSALS: Readonly<Record<number, string>> = {
  400: "Not valid: the errors name each place",
  404: "Unknown",
  405: "Method not allowed",
  409: "In conflict with what is stored",
  410: "No longer in the history",
  413: "Too large",
  415: "Content type not supported",
  421: "The Host header names another server",
  422: "Understood, and not acceptable: the errors name each place",
  500: "A fault of the gateway",
  502: "A node refused with a code that this gateway does not know",
  503: "Nothing was done: try again after the named pause",
  504: "No answer in time: the outcome is unknown",
};
/** Every route may answer with these. */
const COMMON = [400, 421, 500, 502, 503, 504];

/** The `response` part of a route's schema: its good answers, and a problem for every refusal. */
export function answers(good: Readonly<Record<number, readonly [string, Schema]>>, refusals: readonly number[] = []) {
  const all: Record<number, unknown> = {};
  for (const [status, [description, schema]] of Object.entries(good)) {
    all[Number(status)] = { description, content: { "application/json": { schema } } };
  }
  for (const status of [...COMMON, ...refusals]) {
    all[status] = { description: REFUSALS[status], content: { [PROBLEM_TYPE]: { schema: { $ref: "Problem#" } } } };
  }
  return all;
}
