/**
 * The direction of the house, checked without trust in a tool: nats-config <- runtime <- actors <- agents <- gateway.
 * Invariant: an import never points back, and no circle of folders exists. Each check is seen to fail on a fixture.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** Inner to outer. What stands left knows nothing of what stands right; `index.ts` is the package's face. */
const LAYERS = ["nats-config", "runtime", "actors", "agents", "gateway", "index.ts", "tests"];
const PRODUCT = LAYERS.slice(0, 5);

type Sources = ReadonlyMap<string, string>;

const STATIC = /^(?:import|export)\s[^;"'`=()]*?\bfrom\s*["']([^"'\n]+)["']/gm;
const SIDE_EFFECT = /^import\s*["']([^"'\n]+)["']/gm;
const DYNAMIC = /\bimport\(\s*["'`]([^"'`\n]+)["'`]/g;

function importsOf(source: string): string[] {
  return [STATIC, SIDE_EFFECT, DYNAMIC].flatMap((form) => [...source.matchAll(form)].map((match) => match[1] ?? ""));
}

const layerOf = (path: string): string => path.split("/")[0] ?? "";

interface Edge {
  readonly from: string;
  readonly to: string;
}

/** Every relative import as a pair of paths from the root. */
function edgesOf(sources: Sources): Edge[] {
  return [...sources].flatMap(([from, source]) =>
    importsOf(source)
      .filter((specifier) => specifier.startsWith("."))
      .map((specifier) => ({ from, to: posix.join(posix.dirname(from), specifier) })),
  );
}

function pointingBack(sources: Sources): string[] {
  return edgesOf(sources)
    .filter(({ from, to }) => {
      const target = LAYERS.indexOf(layerOf(to));
      return target < 0 || target > LAYERS.indexOf(layerOf(from));
    })
    .map(({ from, to }) => `${from} -> ${to}`);
}

/** The first circle among the top folders, as a path that ends where it began, or none. */
function folderCircle(sources: Sources): string[] {
  const next = new Map<string, Set<string>>();
  for (const { from, to } of edgesOf(sources)) {
    if (layerOf(from) === layerOf(to)) continue;
    next.set(layerOf(from), (next.get(layerOf(from)) ?? new Set()).add(layerOf(to)));
  }
  const walk = (path: string[]): string[] => {
    for (const folder of next.get(path.at(-1) ?? "") ?? []) {
      const start = path.indexOf(folder);
      if (start >= 0) return [...path.slice(start), folder];
      const circle = walk([...path, folder]);
      if (circle.length > 0) return circle;
    }
    return [];
  };
  return [...next.keys()].map((folder) => walk([folder])).find((circle) => circle.length > 0) ?? [];
}

const badEndings = (sources: Sources): string[] =>
  edgesOf(sources)
    .filter(({ to }) => !/\.(?:ts|json)$/.test(to))
    .map(({ from, to }) => `${from} -> ${to}`);

function readSources(folders: readonly string[]): Sources {
  const paths = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .map((path) => posix.join(folder, path.replaceAll("\\", "/"))),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(ROOT, path), "utf8")]));
}

describe("the source tree", () => {
  const product = readSources(PRODUCT);

  test("readSources() finds files and imports, so that the checks below judge something", () => {
    for (const folder of ["nats-config", "runtime"]) {
      expect([...product.keys()].filter((path) => layerOf(path) === folder)).not.toEqual([]);
    }
    expect(edgesOf(product).length).toBeGreaterThan(product.size / 2);
  });

  test("pointingBack() finds no import against the direction of the layers", () => {
    expect(pointingBack(product)).toEqual([]);
  });

  test("folderCircle() finds no circle of folders", () => {
    expect(folderCircle(product)).toEqual([]);
  });

  test("badEndings() finds no relative import without its ending", () => {
    expect(badEndings(readSources([...PRODUCT, "tests"]))).toEqual([]);
  });
});

describe("the checks themselves", () => {
  test("importsOf() reads every form of import when lines break, and no comment", () => {
    const source = [
      'import type { A } from "./a.ts";',
      "import {",
      "  b,",
      '} from "./b.ts";',
      'export * from "./c.ts";',
      'import "./d.ts";',
      'const e = await import("./e.ts");',
      '// import { f } from "./f.ts";',
      ' * import { g } from "./g.ts";',
      'export const from = "./h.ts";',
    ].join("\n");
    expect(importsOf(source).sort()).toEqual(["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts"]);
  });

  test.each([
    ["runtime/a.ts", "../actors/b.ts"],
    ["nats-config/a.ts", "../runtime/clock.ts"],
    ["runtime/testkit/a.ts", "../../gateway/main.ts"],
    ["agents/a.ts", "../index.ts"],
    ["actors/a.ts", "../tests/support/nats.ts"],
    ["actors/a.ts", "../elsewhere/b.ts"],
  ])("pointingBack() names the import when %s imports %s", (from, specifier) => {
    expect(pointingBack(new Map([[from, `import type { B } from "${specifier}";`]]))).toHaveLength(1);
  });

  test("pointingBack() is silent when imports stay inside or point inwards", () => {
    const source = 'import { a } from "./a.ts";\nimport { b } from "../runtime/b.ts";\nimport { c } from "xstate";';
    expect(pointingBack(new Map([["gateway/x.ts", source]]))).toEqual([]);
  });

  test("folderCircle() names the circle when three folders form one", () => {
    const sources = new Map([
      ["runtime/a.ts", 'import "../actors/a.ts";'],
      ["actors/a.ts", 'import "../agents/a.ts";'],
      ["agents/a.ts", 'import "../runtime/a.ts";'],
    ]);
    expect(folderCircle(sources)).toEqual(["runtime", "actors", "agents", "runtime"]);
  });

  test("badEndings() names the import when it has no ending or that of the output", () => {
    const source = 'import "./b";\nimport "./c.js";\nimport "./d.ts";';
    expect(badEndings(new Map([["runtime/a.ts", source]]))).toEqual([
      "runtime/a.ts -> runtime/b",
      "runtime/a.ts -> runtime/c.js",
    ]);
  });
});
