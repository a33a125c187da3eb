/**
 * Fills `${event.data.x}` and `${steps.<id>.output.y}` in a step's arguments. Invariant: pure and total; reads own fields
 * of plain data only, never runs anything, and a name that leads nowhere is an error, never an empty text.
 *
 * A text that is one template keeps the value's type; `$${` stands for a plain `${`.
 */

export type Resolved = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly error: string };

/** Deepest arguments, in levels: as deep as the runtime stores. */
const MAX_ARGS_DEPTH = 32;
/** Longest text after filling, in characters: arguments travel in one message with room for the rest. */
const MAX_TEXT_LENGTH = 32_768;
/** Names listed in an error: enough to see the typing mistake. */
const MAX_NAMES_SHOWN = 10;

const TEMPLATE = /\$\$\{|\$\{([^{}]*)\}/g;
const WHOLE = /^\$\{([^{}]*)\}$/;

class TemplateProblem extends Error {}

/** Fills every template in `value`, however deep, from `scope`. */
export function resolveTemplates(value: unknown, scope: Readonly<Record<string, unknown>>): Resolved {
  try {
    return { ok: true, value: fill(value, scope, 0) };
  } catch (error) {
    if (error instanceof TemplateProblem) return { ok: false, error: error.message };
    throw error;
  }
}

function fill(value: unknown, scope: Readonly<Record<string, unknown>>, depth: number): unknown {
  if (typeof value === "string") return fillText(value, scope);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_ARGS_DEPTH)
    throw new TemplateProblem(`The arguments are nested deeper than ${MAX_ARGS_DEPTH} levels: flatten them`);
  if (Array.isArray(value)) return value.map((item) => fill(item, scope, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, scope, depth + 1)]));
}

function fillText(text: string, scope: Readonly<Record<string, unknown>>): unknown {
  const whole = WHOLE.exec(text);
  if (whole !== null) return lookUp(whole[1] as string, scope);
  const filled = text.replace(TEMPLATE, (_match, path: string | undefined) =>
    path === undefined ? "${" : asText(path, lookUp(path, scope)),
  );
  if (filled.length > MAX_TEXT_LENGTH) {
    throw new TemplateProblem(
      `The text "${text.slice(0, 40)}…" would have ${filled.length} characters, more than ${MAX_TEXT_LENGTH}: pass a reference instead`,
    );
  }
  return filled;
}

function asText(path: string, value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new TemplateProblem(
    `"\${${path}}" is ${kindOf(value)} and cannot stand inside a text: make it the whole value, or name a field of it`,
  );
}

function lookUp(path: string, scope: Readonly<Record<string, unknown>>): unknown {
  let value: unknown = scope;
  for (const name of path.trim().split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) {
      throw new TemplateProblem(`"\${${path}}" leads nowhere at "${name}": ${knownNames(value)}`);
    }
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function knownNames(value: unknown): string {
  if (typeof value !== "object" || value === null) return `there stands ${kindOf(value)}`;
  const names = Object.keys(value);
  if (names.length === 0) return "nothing is known there";
  return `known are ${names.slice(0, MAX_NAMES_SHOWN).join(", ")}${names.length > MAX_NAMES_SHOWN ? ", …" : ""}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
