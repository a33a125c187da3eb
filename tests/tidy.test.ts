/**
 * The house rules as a test. Invariant: a rule that stands here or in `.oxlintrc.json` is seen to refuse a fixture, so a
 * tool that reads nothing cannot pass for a clean house. Lengths, cycles and floating promises are oxlint's to judge.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const PRODUCT = /^(?:nats-config|runtime|actors|agents|gateway)\/.*\.ts$/;

interface Rule {
  readonly says: string;
  readonly applies: (path: string) => boolean;
  /** What no line of such a file holds. */
  readonly refuses: RegExp;
  /** Comments may mention it. */
  readonly codeOnly?: boolean;
  /** A line that must be refused, cut so that this file does not hold it. */
  readonly example: readonly string[];
  readonly allows: string;
}

const RULES: readonly Rule[] = [
  {
    says: "no path of one machine",
    applies: () => true,
    refuses: /\/work\/(?:main|shared)|\/tmp\/ns\b|\/root\/|\/home\/(?!node\b)[a-z]|[A-Z]:\\Users/,
    example: ["see /ro", "ot/notes"],
    allows: "see docs/notes",
  },
  {
    says: "no host of a package registry",
    applies: () => true,
    refuses: /\bregistry\.[a-z]+js\.|\bregistry\.yarn|\bdeb\.debian\b|\bproxy\.golang\b|\bpythonhosted\b/,
    example: ["https://regis", "try.npmjs.org/x"],
    allows: "the registry. Then",
  },
  {
    says: "no note to do something later: file an issue",
    applies: (path) => !path.endsWith(".md"),
    refuses: /\b(?:TO(?:DO)|FIX(?:ME)|XX(?:X))\b/,
    example: ["// TO", "DO later"],
    allows: "const todos = 1;",
  },
  {
    says: "no skipped, lonely or conditional test",
    applies: (path) => path.startsWith("tests/"),
    refuses: /\b(?:test|it|describe|suite|bench)(?:\.\w+)*\.(?:skip|only|todo|fails|skipIf|runIf)\b/,
    example: ["test.concurrent.sk", 'ip("x", () => {});'],
    allows: "test.each([1])",
  },
  {
    says: "no subject literal outside nats-config",
    applies: (path) => PRODUCT.test(path) && !/^nats-config\/|^runtime\/port-nats/.test(path),
    refuses:
      /["'`]\$(?:KV|JS|SYS|SRV)\.|["'`](?:\$\{[^}]*\}|troupe)\.(?:act|qry|jrn|hist|tmr|ctl|snap|wake|dead|pool|status)\.|["'`]device\.[*$]/,
    codeOnly: true,
    example: ["const s = `${ns}.a", "ct.${shard}`;"],
    allows: "const s = names.act(shard, kind, id);",
  },
  {
    says: "no time or chance but by runtime/clock.ts and, below it, nats-config/wait.ts",
    applies: (path) => PRODUCT.test(path) && !/^runtime\/clock\.ts$|^nats-config\/wait\.ts$/.test(path),
    refuses:
      /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|(?<![.\w#])set(?:Timeout|Interval)\((?!\w+:)|\bperformance\.now\b/,
    codeOnly: true,
    example: ["const t = new Da", "te();"],
    allows: "clock.setTimeout(fire, new Date(ms).getTime() - clock.now());",
  },
];

const isComment = (line: string): boolean => /^\s*(?:\*|\/\*|\/\/)/.test(line);

function breaches(rule: Rule, path: string, text: string): string[] {
  if (!rule.applies(path)) return [];
  return text.split("\n").flatMap((line, index) => {
    const judged = rule.codeOnly !== true ? line : isComment(line) ? "" : line.replace(/\s\/\/\s.*$/, "");
    return rule.refuses.test(judged) ? [`${path}:${index + 1} ${line.trim().slice(0, 100)}`] : [];
  });
}

/** Everything that is or would be committed, as text. Binary files hold a NUL and are left out. */
function committedTexts(): Map<string, string> {
  const list = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: ROOT });
  const paths = list.toString("utf8").split("\0");
  const texts = paths.filter((path) => path !== "" && existsSync(join(ROOT, path)));
  return new Map(
    texts
      .map((path) => [path, readFileSync(join(ROOT, path), "utf8")] as const)
      .filter(([, text]) => !text.includes("\0")),
  );
}

describe("the committed files", () => {
  const texts = committedTexts();

  test("committedTexts() finds the product, so that the rules judge something", () => {
    expect([...texts.keys()]).toEqual(
      expect.arrayContaining(["package.json", "runtime/clock.ts", "tests/tidy.test.ts"]),
    );
  });

  test.each(RULES)("$says", (rule) => {
    expect([...texts].flatMap(([path, text]) => breaches(rule, path, text))).toEqual([]);
  });

  test("a product file begins with its purpose", () => {
    const headless = [...texts].filter(([path, text]) => PRODUCT.test(path) && !/^(?:#!.*\n)?\/\*\*/.test(text));
    expect(headless.map(([path]) => path)).toEqual([]);
  });

  test("package-lock.json names no download address, and every platform's package", () => {
    const lock = JSON.parse(texts.get("package-lock.json") ?? "") as Lock;
    expect(lockGaps(lock)).toEqual([]);
  });
});

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly resolved?: string; readonly optionalDependencies?: Readonly<Record<string, string>> }>
  >;
}

/** `npm ci` refuses a lock that leaves out a platform. npm leaves one out when the registry at hand does not carry it. */
function lockGaps(lock: Lock): string[] {
  return Object.entries(lock.packages).flatMap(([path, entry]) => [
    ...(entry.resolved === undefined ? [] : [`${path} has "resolved"`]),
    ...Object.entries(entry.optionalDependencies ?? {})
      .filter(([name]) => !(`${path}/node_modules/${name}` in lock.packages || `node_modules/${name}` in lock.packages))
      .map(([name, version]) => `${path} needs an entry for ${name} ${version}: see CONTRIBUTING.md`),
  ]);
}

describe("the rules themselves", () => {
  test.each(RULES)("$says: refuses its example and nothing else", (rule) => {
    const path = rule.says.includes("test") ? "tests/unit/a.test.ts" : "runtime/a.ts";
    expect(breaches(rule, path, `\n${rule.example.join("")}\n`)).toHaveLength(1);
    expect(breaches(rule, path, rule.allows)).toEqual([]);
  });

  test("lockGaps() names the package when a platform or an address is wrong", () => {
    const lock = { packages: { a: { resolved: "x", optionalDependencies: { "a-arm": "1.0.0" } } } };
    expect(lockGaps(lock)).toHaveLength(2);
  });
});

const HEADER = "/** A fixture. */\n";
const LINES_70 = "  void 0;\n".repeat(70);

/** Rule, file, source: oxlint must answer with exactly this rule for this file, and with nothing for `good.ts`. */
const LINT_FIXTURES: readonly (readonly [rule: string | undefined, path: string, source: string])[] = [
  [
    undefined,
    "runtime/good.ts",
    'import { a } from "../nats-config/good.ts";\nqueueMicrotask(() => {});\nexport const b = a;',
  ],
  [undefined, "nats-config/good.ts", "export const a = 1;"],
  [undefined, "runtime/clock.ts", "export const now = () => Date.now() + Math.random();\nsetTimeout(now, 1);"],
  [undefined, "nats-config/wait.ts", 'import { scheduler } from "node:timers/promises";\nexport const w = scheduler;'],
  [undefined, "runtime/port-nats-mux.ts", 'import { connect } from "nats";\nexport const c = connect;'],
  [undefined, "gateway/cli.ts", 'console.log("up");'],
  [
    "typescript(no-floating-promises)",
    "runtime/floating.ts",
    "const f = async () => 1;\nexport const g = () => {\n  f();\n};",
  ],
  [
    "typescript(no-misused-promises)",
    "runtime/misused.ts",
    "const f = async () => 1;\n[1].forEach(async () => {\n  await f();\n});",
  ],
  [
    "typescript(switch-exhaustiveness-check)",
    "runtime/switch.ts",
    'export function f(x: "a" | "b"): void {\n  switch (x) {\n    case "a":\n      throw new Error("A");\n  }\n}',
  ],
  ["typescript(only-throw-error)", "runtime/throw.ts", 'export const f = () => {\n  throw "x";\n};'],
  ["typescript(no-explicit-any)", "runtime/any.ts", "export const f = (x: any) => String(x);"],
  ["import(no-cycle)", "runtime/cycle-a.ts", 'import { b } from "./cycle-b.ts";\nexport const a = () => b;'],
  ["import(no-cycle)", "runtime/cycle-b.ts", 'import { a } from "./cycle-a.ts";\nexport const b = () => a;'],
  [
    "eslint(no-restricted-imports)",
    "nats-config/back.ts",
    'import { b } from "../runtime/good.ts";\nexport const c = b;',
  ],
  [
    "eslint(no-restricted-imports)",
    "runtime/back.ts",
    'import type { A } from "../actors/good.ts";\nexport type B = A;',
  ],
  ["eslint(no-restricted-imports)", "runtime/testkit/back.ts", 'export * from "../../actors/good.ts";'],
  ["eslint(no-restricted-imports)", "actors/back.ts", 'import "../agents/good.ts";'],
  ["eslint(no-restricted-imports)", "agents/back.ts", 'import "../gateway/cli.ts";'],
  ["eslint(no-restricted-imports)", "gateway/face.ts", 'import "../index.ts";'],
  ["eslint(no-restricted-imports)", "gateway/broker.ts", 'import { connect } from "nats";\nexport const c = connect;'],
  [
    "eslint(no-restricted-imports)",
    "actors/pure.ts",
    'import { readFileSync } from "node:fs";\nexport const r = readFileSync;',
  ],
  [
    "eslint(no-restricted-imports)",
    "runtime/timers.ts",
    'import { setTimeout as wait } from "node:timers/promises";\nexport const w = wait;',
  ],
  [
    "eslint(no-restricted-imports)",
    "agents/chance.ts",
    'import { randomUUID } from "node:crypto";\nexport const r = randomUUID;',
  ],
  ["eslint(no-restricted-globals)", "runtime/timeout.ts", "setTimeout(() => {}, 1);"],
  ["eslint(no-restricted-globals)", "runtime/interval.ts", "globalThis.setInterval(() => {}, 1);"],
  ["eslint(no-restricted-properties)", "runtime/date.ts", "export const t = Date.now();"],
  ["eslint(no-restricted-properties)", "nats-config/random.ts", "export const r = Math.random();"],
  ["eslint(no-restricted-properties)", "gateway/signal.ts", "export const s = AbortSignal.timeout(1);"],
  ["eslint(no-console)", "agents/console.ts", 'console.log("x");'],
  ["eslint(no-empty)", "runtime/swallow.ts", "try {\n  JSON.parse(String(1));\n} catch {}"],
  ["eslint(max-lines)", "runtime/long.ts", "export {};\n".repeat(301)],
  ["eslint(max-lines-per-function)", "runtime/long-function.ts", `export function f(): void {\n${LINES_70}}`],
  ["vitest(no-focused-tests)", "tests/focus.test.ts", `import { test } from "vitest";\ntest.${"only"}("x", () => {});`],
];

describe("oxlint", () => {
  const house = mkdtempSync(join(tmpdir(), "troupe-lint-"));
  const found = new Map<string, Set<string>>();

  beforeAll(() => {
    copyFileSync(join(ROOT, ".oxlintrc.json"), join(house, ".oxlintrc.json"));
    copyFileSync(join(ROOT, "tsconfig.json"), join(house, "tsconfig.json"));
    copyFileSync(join(ROOT, "package.json"), join(house, "package.json"));
    symlinkSync(join(ROOT, "node_modules"), join(house, "node_modules"), "junction");
    const stubs = ["actors/good.ts", "agents/good.ts", "index.ts"].map((path) => [path, "export type A = 1;"] as const);
    for (const [path, source] of [...stubs, ...LINT_FIXTURES.map(([, path, source]) => [path, source] as const)]) {
      mkdirSync(dirname(join(house, path)), { recursive: true });
      writeFileSync(join(house, path), HEADER + source);
    }
    const oxlint = join(ROOT, "node_modules/oxlint/bin/oxlint");
    const run = spawnSync(process.execPath, [oxlint, "--type-aware", "-f", "json"], { cwd: house, encoding: "utf8" });
    const report = JSON.parse(run.stdout) as { diagnostics: { code: string; filename: string }[] };
    for (const { code, filename } of report.diagnostics) {
      const path = filename.replaceAll("\\", "/");
      found.set(path, (found.get(path) ?? new Set()).add(code));
    }
  });

  afterAll(() => {
    rmSync(house, { recursive: true, force: true });
  });

  test.each(LINT_FIXTURES)("answers %s for %s", (rule, path) => {
    expect([...(found.get(path) ?? [])]).toEqual(rule === undefined ? [] : [rule]);
  });
});
