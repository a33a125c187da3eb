/** The errors and their table. Invariant: a code means one class for good, on both sides of the wire, and is documented. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as errors from "../../runtime/errors.ts";

const DOCUMENT = new URL("../../ARCHITECTURE.md", import.meta.url);

interface Row {
  readonly name: string;
  readonly code: string;
  readonly retryable: boolean;
}

type ErrorClass = new (...args: never[]) => errors.TroupeError;

const isErrorClass = (value: unknown): boolean =>
  typeof value === "function" && value.prototype instanceof errors.TroupeError;

/** RemoteError carries whatever code a newer node sent: it has none of its own. */
function make(Class: ErrorClass): errors.TroupeError {
  if ((Class as unknown) === errors.UnknownKindError) return new errors.UnknownKindError("a", []);
  return new (Class as unknown as new (...args: unknown[]) => errors.TroupeError)("a", 1);
}

const CLASSES = Object.values(errors as Record<string, unknown>).filter(isErrorClass) as ErrorClass[];
const OWN = CLASSES.filter((Class) => (Class as unknown) !== errors.RemoteError);
const ROWS: Row[] = OWN.map((Class) => {
  const { code, retryable } = make(Class);
  return { name: Class.name, code, retryable };
});

/** Rows `| CODE | class | retryable | …` of the section `## Errors`. */
function documented(): string[][] {
  if (!existsSync(DOCUMENT)) throw new Error("ARCHITECTURE.md is missing: write it with a section ## Errors");
  const section = readFileSync(DOCUMENT, "utf8")
    .split(/^## /m)
    .find((part) => /^Errors\s*$/m.test(part.split("\n")[0] ?? ""));
  if (section === undefined) throw new Error('ARCHITECTURE.md has no section "## Errors"');
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.replaceAll("`", "").trim()),
    )
    .filter(([code]) => /^[A-Z_]+$/.test(code ?? ""));
}

describe("errors.ts", () => {
  test("holds the classes, so that the rules below judge something", () => {
    expect(ROWS.map(({ name }) => name)).toEqual(expect.arrayContaining(["SealedError", "DeadlineError"]));
  });

  test("gives each class a code of its own, in capitals", () => {
    const codes = ROWS.map(({ code }) => code);
    expect(new Set(codes).size).toBe(codes.length);
    expect(codes.filter((code) => !/^[A-Z]+(_[A-Z]+)*$/.test(code))).toEqual([]);
  });

  test.each(ROWS)("$name is named like its class and says whether to repeat", ({ name, retryable }) => {
    const Class = OWN.find((each) => each.name === name) as ErrorClass;
    expect(make(Class).name).toBe(name);
    expect(typeof retryable).toBe("boolean");
  });

  test("errorFromWire() keeps code, message and retryable of every class", () => {
    for (const { code, retryable } of ROWS) {
      const made = errors.errorFromWire(code, "What happened");
      expect([code, made.message, made.code]).toEqual([code, "What happened", code]);
      if (made instanceof errors.RemoteError) expect([code, retryable]).toEqual([code, false]);
      else expect([code, made.retryable]).toEqual([code, retryable]);
    }
  });

  test("errorFromWire() rebuilds the class that a node can answer with", () => {
    const { BusyError, StateError, UnknownKindError, VersionError, NoResponderError, CorruptRecordError } = errors;
    for (const Class of [BusyError, StateError, UnknownKindError, VersionError, NoResponderError, CorruptRecordError]) {
      const { code } = make(Class as unknown as ErrorClass);
      expect([code, errors.errorFromWire(code, "x")]).toEqual([code, expect.any(Class)]);
    }
    expect(errors.errorFromWire("OF_TOMORROW", "x")).toMatchObject({ code: "OF_TOMORROW", retryable: false });
  });

  test("ARCHITECTURE.md documents every class, its code and whether to repeat, and nothing else", () => {
    const wanted = ROWS.map(({ code, name, retryable }) => `${code} ${name} ${retryable ? "yes" : "no"}`).sort();
    const found = documented()
      .filter(([, name]) => name !== "RemoteError")
      .map(([code, name, retryable]) => `${code} ${name} ${/^(yes|true)/i.test(retryable ?? "") ? "yes" : "no"}`);
    // Errors of nats-config have rows of their own kind.
    expect(found.filter((row) => ROWS.some(({ code }) => row.startsWith(`${code} `))).sort()).toEqual(wanted);
  });
});
