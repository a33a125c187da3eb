/** Random input at the definitions' door: whatever comes, one kind of error with places inside the text, and soon. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDefinition } from "../../agents/definition.ts";
import { DefinitionInvalidError } from "../../agents/errors.ts";
import { planOf } from "../../agents/plan.ts";
import { MAX_DEFINITION_BYTES, MAX_PROBLEMS } from "../../agents/positions.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Broker } from "../../runtime/port.ts";

const skills = new SkillRegistry(builtInSkills, { broker: {} as Broker, names: makeNames() }).facts;
const VALID = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");
const VALID_DATA: unknown = JSON.parse(JSON.stringify(parseDefinition(VALID, { skills })));

/** Longest that one text may take, in ms: worst texts take a tenth on the slowest machine. */
const TOO_LONG_MS = 5_000;

/** Parses; fails the test on any other error, or on a problem whose place is outside the text. */
function parse(source: string): boolean {
  const startedMs = performance.now();
  try {
    const definition = parseDefinition(source, { skills });
    const plan = planOf(definition, skills);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
    return true;
  } catch (error) {
    if (!(error instanceof DefinitionInvalidError)) throw error;
    const lines = source.split(/\r\n|\r|\n/);
    expect(error.problems.length).toBeGreaterThan(0);
    expect(error.problems.length).toBeLessThanOrEqual(MAX_PROBLEMS);
    for (const { line, column, path, message, hint } of error.problems) {
      expect(line).toBeGreaterThan(0);
      expect(line).toBeLessThanOrEqual(lines.length + 1);
      expect(column).toBeGreaterThan(0);
      expect(path).not.toBe("");
      expect(message).toMatch(/^[^a-z].*[^.]$/s);
      expect(hint).not.toBe("");
    }
    return false;
  } finally {
    expect(performance.now() - startedMs).toBeLessThan(TOO_LONG_MS);
  }
}

/** Pieces that mean something to YAML or to us. */
const token = fc.constantFrom(
  ...[
    "- ",
    ": ",
    "? ",
    "\n",
    "\n  ",
    "\n    ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "|\n",
    ">\n",
    '"',
    "'",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "<<: *a",
    "\t",
  ],
  ...[
    "metadata",
    "id",
    "version",
    "triggers",
    "events",
    "skills",
    "playbook",
    "steps",
    "with",
    "on",
    "device",
    "null",
    "~",
    ".inf",
    ".nan",
    "0x1F",
    "1e999",
    "true",
    "2026-01-01",
    "__proto__",
    "constructor",
    "${event.data.x}",
    "${",
    "\u0000",
    "\ufeff",
    "\ud800",
    "é",
  ],
);

describe("parseDefinition()", () => {
  test("parseDefinition() throws only DefinitionInvalidError when the text is random", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), (source) => void parse(source)),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 80 }), (tokens) => void parse(tokens.join(""))),
      { numRuns: 1_500 },
    );
  });

  test("parseDefinition() throws only DefinitionInvalidError when a valid text is mutated", () => {
    const cut = fc.record({
      at: fc.nat(VALID.length),
      remove: fc.nat(40),
      insert: fc.oneof(token, fc.string({ maxLength: 5 })),
    });
    fc.assert(
      fc.property(fc.array(cut, { minLength: 1, maxLength: 4 }), (cuts) => {
        parse(
          cuts.reduce((text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove), VALID),
        );
      }),
      { numRuns: 800 },
    );
  });

  test("parseDefinition() throws only DefinitionInvalidError when it is random JSON", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (source) => void parse(source)),
      { numRuns: 500 },
    );
  });

  test("parseDefinition() throws only DefinitionInvalidError when a part of a valid definition is replaced by any value", () => {
    const places = pathsOf(VALID_DATA, []);
    fc.assert(
      fc.property(
        fc.constantFrom(...places),
        fc.jsonValue({ maxDepth: 3 }),
        (place, value) => void parse(JSON.stringify(replaced(VALID_DATA, place, value))),
      ),
      { numRuns: 1_000 },
    );
  });

  const worst: readonly [string, string][] = [
    ["brackets", "["],
    ["braces", "{"],
    ["nested lists", "- "],
    ["complex keys", "? "],
    ["keys", "k: {k: "],
    ["quotes", '"'],
    ["anchors", "&a 1, "],
    ["tags", "!a "],
    ["templates", "a${"],
    ["lines", "a\n"],
    ["documents", "---\n"],
  ];
  test.each(worst)("parseDefinition() ends soon when the text is nothing but %s", (_name, piece) => {
    const many = piece.repeat(Math.floor((MAX_DEFINITION_BYTES - 20) / piece.length));
    parse(many);
    parse(`playbook: [${many}]`);
  });

  test("parseDefinition() ends soon when the text has as many keys, aliases or templates as fit", () => {
    parse(Array.from({ length: 7_000 }, (_, i) => `k${i}: 1`).join("\n"));
    parse(`a: &a 1\nskills: [${"*a,".repeat(20_000)}]`);
    parse(VALID.replace("{ key: HOME }", `{ key: "${"${steps.x.output}".repeat(3_000)}" }`));
    parse(`skills: [${Array.from({ length: 8_000 }, (_, i) => `s${i}`).join(",")}]`);
  });
});

type Place = readonly (string | number)[];

function pathsOf(value: unknown, path: Place): Place[] {
  if (typeof value !== "object" || value === null) return [path];
  const isList = Array.isArray(value);
  return [
    path,
    ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...path, isList ? Number(key) : key])),
  ];
}

function replaced(value: unknown, [first, ...rest]: Place, by: unknown): unknown {
  if (first === undefined) return by;
  if (Array.isArray(value))
    return value.map((item: unknown, index) => (index === first ? replaced(item, rest, by) : item));
  const fields = value as Readonly<Record<string, unknown>>;
  return { ...fields, [first]: replaced(fields[first], rest, by) };
}
