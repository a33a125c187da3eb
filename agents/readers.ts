/**
 * Small combinators that check a located tree and report every problem at its place. Invariant: a reader never throws;
 * what it returns is valid if it reported nothing, and has `undefined` where it reported.
 */
import { DURATION_FORM, formatDuration, parseDuration } from "./duration.ts";
import type { Problem } from "./errors.ts";
import { suggest } from "./nearest.ts";
import {
  type MapTree,
  MAX_PROBLEMS,
  type Path,
  pathText,
  type Place,
  type Scalar,
  short,
  toData,
  type Tree,
} from "./positions.ts";

/** Collects problems, bounded. */
export class Report {
  readonly problems: Problem[];
  constructor(problems: readonly Problem[] = []) {
    this.problems = [...problems];
  }

  add(place: Place, path: Path, message: string, hint: string): void {
    if (this.problems.length >= MAX_PROBLEMS) return;
    this.problems.push({ path: pathText(path), line: place.line, column: place.column, message, hint });
  }
}

export interface Reader<T> {
  readonly read: (tree: Tree, path: Path, report: Report) => T | undefined;
}

interface Field<T> {
  readonly reader: Reader<T>;
  readonly required: boolean;
  readonly fallback: T | undefined;
}

export const required = <T>(reader: Reader<T>): Field<T> => ({ reader, required: true, fallback: undefined });
export const withDefault = <T>(reader: Reader<T>, fallback: T): Field<T> => ({ reader, required: false, fallback });
export const optional = <T>(reader: Reader<T>): Field<T | undefined> => ({
  reader,
  required: false,
  fallback: undefined,
});

const describe = (tree: Tree): string => {
  if (tree.kind === "map") return "a mapping";
  if (tree.kind === "list") return "a list";
  return tree.value === null ? "empty" : typeof tree.value === "string" ? `"${short(tree.value)}"` : String(tree.value);
};

type Fields = Readonly<Record<string, Field<unknown>>>;
type Valid<F extends Fields> = { [K in keyof F]: F[K] extends Field<infer T> ? T : never };

/** A mapping with exactly these keys. */
export function object<F extends Fields>(what: string, fields: F): Reader<Valid<F>> {
  return {
    read: (tree, path, report) => {
      if (tree.kind !== "map") {
        report.add(
          tree,
          path,
          `${what} is ${describe(tree)}, not a mapping`,
          `Write its keys below it: ${Object.keys(fields).join(", ")}`,
        );
        return undefined;
      }
      refuseUnknownKeys(tree, path, report, what, Object.keys(fields));
      const result: Record<string, unknown> = {};
      for (const [key, field] of Object.entries(fields)) {
        const entry = tree.entries.get(key);
        if (entry !== undefined) {
          const value = field.reader.read(entry.value, [...path, key], report);
          if (value !== undefined) result[key] = value;
        } else if (field.required) {
          report.add(tree, [...path, key], `${what} has no "${key}"`, `Add "${key}:"`);
        } else if (field.fallback !== undefined) result[key] = field.fallback;
      }
      // Holes are where problems were reported; see the invariant.
      return result as Valid<F>;
    },
  };
}

function refuseUnknownKeys(tree: MapTree, path: Path, report: Report, what: string, known: readonly string[]): void {
  for (const [key, entry] of tree.entries) {
    if (known.includes(key)) continue;
    report.add(entry.at, [...path, key], `${what} has no key "${short(key)}"`, suggest(key, known, "keys"));
  }
}

/** A list; places of invalid items stay, as holes, so that paths keep their numbers. */
export function list<T>(
  what: string,
  item: Reader<T>,
  limits: { readonly max: number; readonly min?: number },
): Reader<T[]> {
  return {
    read: (tree, path, report) => {
      if (tree.kind !== "list") {
        report.add(
          tree,
          path,
          `${what} is ${describe(tree)}, not a list`,
          'Write each item on a line that begins with "- "',
        );
        return undefined;
      }
      if (tree.items.length > limits.max) {
        report.add(
          tree,
          path,
          `${what} has ${tree.items.length} items, more than ${limits.max}`,
          "Split the agent in two",
        );
        return undefined;
      }
      if (tree.items.length < (limits.min ?? 0)) report.add(tree, path, `${what} has no items`, "Add one");
      // Holes are where problems were reported; see the invariant.
      return tree.items.map((each, index) => item.read(each, [...path, index], report)) as T[];
    },
  };
}

interface TextRules {
  readonly max: number;
  readonly min?: number;
  readonly form?: { readonly pattern: RegExp; readonly says: string };
}

/** Text, also from a plain scalar that YAML takes for something else only when `form` names the remedy. */
export function text(what: string, rules: TextRules): Reader<string> {
  return {
    read: (tree, path, report) => {
      if (tree.kind !== "scalar" || typeof tree.value !== "string") {
        const quoted = tree.kind === "scalar" && tree.value !== null;
        report.add(
          tree,
          path,
          `${what} is ${describe(tree)}, not text`,
          quoted ? `Put it in quotes: "${String(tree.value)}"` : (rules.form?.says ?? "Write text"),
        );
        return undefined;
      }
      const { value } = tree;
      if (value.trim().length < (rules.min ?? 1) && rules.min !== 0) {
        report.add(tree, path, `${what} is empty`, rules.form?.says ?? "Write text");
      } else if (value.length > rules.max) {
        report.add(tree, path, `${what} has ${value.length} characters, more than ${rules.max}`, "Shorten it");
      } else if (rules.form !== undefined && !rules.form.pattern.test(value)) {
        report.add(tree, path, `${what} "${short(value)}" is not valid`, rules.form.says);
      } else return value;
      return undefined;
    },
  };
}

/** Text that a function accepts; it answers with the problem or null. */
export function checkedText(
  what: string,
  max: number,
  check: (value: string) => { readonly hint: string } | null,
): Reader<string> {
  const plain = text(what, { max });
  return {
    read: (tree, path, report) => {
      // A version like 1.0 is a number to YAML: the check's own hint says more than "put it in quotes".
      const isNumber = tree.kind === "scalar" && typeof tree.value === "number";
      const value = isNumber ? String(tree.value) : plain.read(tree, path, report);
      const wrong = value === undefined ? null : check(value);
      if (wrong !== null) report.add(tree, path, `${what} "${short(value ?? "")}" is not valid`, wrong.hint);
      return wrong === null ? value : undefined;
    },
  };
}

export function oneOf<const T extends string>(what: string, values: readonly T[]): Reader<T> {
  return {
    read: (tree, path, report) => {
      const found = tree.kind === "scalar" ? values.find((value) => value === tree.value) : undefined;
      if (found === undefined) {
        const given = tree.kind === "scalar" ? String(tree.value) : "";
        const close = suggest(given, values, "values");
        report.add(tree, path, `${what} is ${describe(tree)}, not one of ${values.join(", ")}`, close);
      }
      return found;
    },
  };
}

export function integer(what: string, min: number, max: number): Reader<number> {
  return {
    read: (tree, path, report) => {
      const value = tree.kind === "scalar" ? tree.value : undefined;
      if (typeof value === "number" && Number.isSafeInteger(value) && value >= min && value <= max) return value;
      report.add(
        tree,
        path,
        `${what} is ${describe(tree)}, not a whole number`,
        `Give a whole number from ${min} to ${max}`,
      );
      return undefined;
    },
  };
}

export function flag(what: string): Reader<boolean> {
  return {
    read: (tree, path, report) => {
      if (tree.kind === "scalar" && typeof tree.value === "boolean") return tree.value;
      report.add(tree, path, `${what} is ${describe(tree)}, not true or false`, "Write true or false");
      return undefined;
    },
  };
}

/** A duration as text; its value stays as written. */
export function duration(what: string, minMs: number, maxMs: number): Reader<string> {
  return {
    read: (tree, path, report) => {
      const value = tree.kind === "scalar" ? tree.value : undefined;
      const ms = typeof value === "string" ? parseDuration(value) : null;
      const unitMissing =
        typeof value === "number" ? `Name the unit: ${value}s or ${value}ms` : `Write ${DURATION_FORM}`;
      if (ms === null) report.add(tree, path, `${what} is ${describe(tree)}, not a duration`, unitMissing);
      else if (ms < minMs || ms > maxMs) {
        report.add(
          tree,
          path,
          `${what} is ${describe(tree)}, out of its limits`,
          `Give ${formatDuration(minMs)} to ${formatDuration(maxMs)}`,
        );
      } else return String(value);
      return undefined;
    },
  };
}

/** A mapping of any plain data. */
export function data(what: string, maxKeys: number): Reader<Readonly<Record<string, unknown>>> {
  return {
    read: (tree, path, report) => {
      if (tree.kind !== "map" || tree.entries.size > maxKeys) {
        const isMap = tree.kind === "map";
        report.add(
          tree,
          path,
          `${what} is ${isMap ? `a mapping of more than ${maxKeys} keys` : `${describe(tree)}, not a mapping`}`,
          "Write keys and values below it",
        );
        return undefined;
      }
      return toData(tree) as Readonly<Record<string, unknown>>;
    },
  };
}

/** A mapping from names to what `value` reads. */
export function record<T>(what: string, value: Reader<T>, maxKeys: number): Reader<Readonly<Record<string, T>>> {
  return {
    read: (tree, path, report) => {
      if (data(what, maxKeys).read(tree, path, report) === undefined || tree.kind !== "map") return undefined;
      const entries = [...tree.entries].map(
        ([key, entry]) => [key, value.read(entry.value, [...path, key], report)] as const,
      );
      return Object.fromEntries(
        entries.filter((entry): entry is readonly [string, T & ({} | null)] => entry[1] !== undefined),
      );
    },
  };
}

/** The first reader for a scalar, the second for anything else. */
export const scalarOr = <A, B>(scalar: Reader<A>, other: Reader<B>): Reader<A | B> => ({
  read: (tree, path, report) =>
    tree.kind === "scalar" ? scalar.read(tree, path, report) : other.read(tree, path, report),
});

export const anyScalar: Reader<Scalar> = {
  read: (tree, path, report) => {
    if (tree.kind === "scalar") return tree.value;
    report.add(
      tree,
      path,
      `The value is ${describe(tree)}, not a plain value`,
      "Write text, a number, true, false or null",
    );
    return undefined;
  },
};
