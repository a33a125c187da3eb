/** Arguments of the command line as values. Invariant: what is not valid is a usage error that quotes it and says what is. */
import { InvalidArgumentError } from "commander";
import type { Need } from "../../actors/messages/crew.ts";
import { needOf } from "../../actors/crew-request.ts";
import { DURATION_FORM, parseDuration } from "../../agents/duration.ts";
import { isRole, type Role, ROLES } from "../../runtime/families.ts";
import { isPriority, PRIORITIES, type Priority } from "../../runtime/priority.ts";
import { isObject, type JsonObject } from "../json.ts";

const MAX_PORT = 65_535;
const quote = (value: string): string => JSON.stringify(value.length > 60 ? `${value.slice(0, 59)}…` : value);

export function durationArgument(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError(`${quote(text)} is no duration: give ${DURATION_FORM}`);
  return ms;
}

export function priorityArgument(text: string): Priority {
  if (isPriority(text)) return text;
  throw new InvalidArgumentError(`${quote(text)} is no priority: give one of ${PRIORITIES.join(", ")}`);
}

/** A port; 0 is any free one. */
export function portArgument(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= MAX_PORT) return port;
  throw new InvalidArgumentError(`${quote(text)} is no port: give a whole number from 0 to ${MAX_PORT}`);
}

/** A whole number, 1 or more. */
export function countArgument(text: string): number {
  const count = Number(text);
  if (/^\d{1,9}$/.test(text) && count > 0) return count;
  throw new InvalidArgumentError(`${quote(text)} is no count: give a whole number above 0`);
}

/** A seed: a whole number, 0 or more. */
export function seedArgument(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`${quote(text)} is no seed: give a whole number of up to 9 digits`);
}

/** The event's other fields. */
export function fieldsArgument(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InvalidArgumentError(
      `${quote(text)} is no JSON (${cause instanceof Error ? cause.message : String(cause)}): give an object like '{"by":1}'`,
    );
  }
  if (!isObject(value))
    throw new InvalidArgumentError(`${quote(text)} is no JSON object: give the event's fields like '{"by":1}'`);
  if ("type" in value)
    throw new InvalidArgumentError(`${quote(text)} holds "type": the type is an argument of its own`);
  return value;
}

/** Labels as `role=device,host=pi1`. */
export function labelsArgument(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(",").map((pair) => /^([A-Za-z][\w.-]*)=([\w.:-]+)$/.exec(pair.trim()));
  return Object.fromEntries(
    pairs.map((match) => {
      if (match === null)
        throw new InvalidArgumentError(`${quote(text)} is no list of labels: give name=value,name=value`);
      return [match[1] ?? "", match[2] ?? ""];
    }),
  );
}

/** A role, in any case. */
export function roleArgument(text: string): Role {
  const role = text.toUpperCase();
  if (isRole(role)) return role;
  throw new InvalidArgumentError(`${quote(text)} is no role: give one of ${ROLES.join(", ")}`);
}

/** Roles as `WORKER,MONITOR`. */
export const rolesArgument = (text: string): readonly Role[] =>
  text.split(",").map((part) => roleArgument(part.trim()));

/** A weight: a number above 0. */
export function weightArgument(text: string): number {
  const weight = Number(text);
  if (/^\d{1,4}(\.\d{1,3})?$/.test(text) && weight > 0) return weight;
  throw new InvalidArgumentError(`${quote(text)} is no weight: give a number above 0, like 2 or 0.5`);
}

/** What a worker must be able to do, as `scan` or `scan@^1.2.0`. */
export function needArgument(text: string): Need {
  const need = needOf(text);
  if (need !== null) return need;
  throw new InvalidArgumentError(`${quote(text)} is no capability: give a name, or name@range such as scan@^1.2.0`);
}
