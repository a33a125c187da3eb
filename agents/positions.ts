/**
 * YAML or JSON text as a tree in which every value knows where it stands. Invariant: bounded, whatever the text holds:
 * its length, its depth and what its aliases expand to are limited, and nothing but problems comes of a bad text.
 */
import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import type { Problem } from "./errors.ts";

export interface Place {
  readonly line: number;
  readonly column: number;
}

export type Scalar = string | number | boolean | null;

interface Extent extends Place {
  /** Characters once aliases are expanded. */
  readonly size: number;
  /** Levels below, aliases followed. */
  readonly depth: number;
}
export interface MapTree extends Extent {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, { readonly at: Place; readonly value: Tree }>;
}
export interface ListTree extends Extent {
  readonly kind: "list";
  readonly items: readonly Tree[];
}
export interface ScalarTree extends Extent {
  readonly kind: "scalar";
  readonly value: Scalar;
}
export type Tree = MapTree | ListTree | ScalarTree;

/** Steps from the root: keys of mappings and places in lists. */
export type Path = readonly (string | number)[];

/** Longest text of a definition, in bytes: twenty times the largest real one; its plan must fit one message. */
export const MAX_DEFINITION_BYTES = 64 * 1_024;
/** Characters that a definition may have once its aliases are expanded: stops alias bombs before anything is copied. */
export const MAX_EXPANDED_CHARS = 2 * MAX_DEFINITION_BYTES;
/** Deepest nesting. A stored payload may be 64 deep, and a plan wraps what stands here. */
export const MAX_DEFINITION_DEPTH = 32;
/** Problems reported at once; beyond them nobody reads. */
export const MAX_PROBLEMS = 100;

/** Reads the text. `tree` is null when the text is no YAML: then every problem is about its syntax. */
export function readTree(source: string): { readonly tree: Tree | null; readonly problems: Problem[] } {
  const bytes = new TextEncoder().encode(source).length;
  if (bytes > MAX_DEFINITION_BYTES) {
    const message = `The definition has ${bytes} bytes, more than ${MAX_DEFINITION_BYTES}`;
    return { tree: null, problems: [{ path: "$", line: 1, column: 1, message, hint: "Move large data out of it" }] };
  }
  const lines = new LineCounter();
  const document = parseDocument(source, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    stringKeys: true,
  });
  const builder = new TreeBuilder(lines);
  for (const error of [...document.errors, ...document.warnings]) {
    builder.report(builder.place(error.pos[0]), [], sentence(error.message), "See the YAML 1.2 syntax; JSON works too");
  }
  if (document.errors.length > 0) return { tree: null, problems: builder.problems };
  if (document.contents === null) {
    builder.report({ line: 1, column: 1 }, [], "The definition is empty", 'Begin with "metadata:"');
    return { tree: null, problems: builder.problems };
  }
  const tree = builder.build(document.contents, [], { line: 1, column: 1 });
  const tooLarge = tree.size > MAX_EXPANDED_CHARS;
  if (tooLarge || tree.depth > MAX_DEFINITION_DEPTH) {
    const what = tooLarge ? `more than ${MAX_EXPANDED_CHARS} characters` : `more than ${MAX_DEFINITION_DEPTH} levels`;
    builder.report(tree, [], `The aliases expand to ${what}`, "Use fewer aliases");
    return { tree: null, problems: builder.problems };
  }
  return { tree, problems: builder.problems };
}

class TreeBuilder {
  readonly problems: Problem[] = [];
  readonly #lines: LineCounter;
  readonly #anchors = new Map<string, Tree>();

  constructor(lines: LineCounter) {
    this.#lines = lines;
  }

  place(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  report(place: Place, path: Path, message: string, hint: string): void {
    if (this.problems.length >= MAX_PROBLEMS) return;
    this.problems.push({ path: pathText(path), line: place.line, column: place.column, message, hint });
  }

  /** `fallback` places what has no place of its own: an empty value stands where its key does. */
  build(node: ParsedNode | null, path: Path, fallback: Place): Tree {
    if (node === null) return { kind: "scalar", ...fallback, value: null, size: 1, depth: 0 };
    const at = this.place(node.range[0]);
    if (path.length > MAX_DEFINITION_DEPTH) {
      this.report(at, path, `The definition is nested deeper than ${MAX_DEFINITION_DEPTH} levels`, "Make it flatter");
      return { kind: "scalar", ...at, value: null, size: 1, depth: 0 };
    }
    if (isAlias(node)) return this.#alias(node, path, at);
    const tree = isMap(node)
      ? this.#map(node, path, at)
      : isSeq(node)
        ? this.#list(node, path, at)
        : this.#scalar(node, path, at);
    // Set only once complete: an alias inside its own anchor finds nothing, so there are no cycles.
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, tree);
    return tree;
  }

  #alias(node: Alias, path: Path, at: Place): Tree {
    const found = this.#anchors.get(node.source);
    if (found !== undefined) return found;
    this.report(
      at,
      path,
      `The alias "*${node.source}" names no anchor before it`,
      `Write "&${node.source}" at the value that is meant`,
    );
    return { kind: "scalar", ...at, value: null, size: 1, depth: 0 };
  }

  #map(node: YAMLMap, path: Path, at: Place): Tree {
    const entries = new Map<string, { at: Place; value: Tree }>();
    let size = 1;
    let depth = 0;
    for (const pair of node.items) {
      const keyNode = pair.key as ParsedNode | null;
      const name = isScalar(keyNode) && typeof keyNode.value === "string" ? keyNode.value : "";
      const keyAt = keyNode === null ? at : this.place(keyNode.range[0]);
      const first = entries.get(name);
      if (name === "" || name === "__proto__") {
        this.report(keyAt, path, `The key ${JSON.stringify(name)} cannot be used`, "Give it a name");
      } else if (first === undefined) {
        const value = this.build(pair.value as ParsedNode | null, [...path, name], keyAt);
        entries.set(name, { at: keyAt, value });
        size += name.length + value.size;
        depth = Math.max(depth, value.depth);
      } else {
        this.report(
          keyAt,
          [...path, name],
          `The key "${short(name)}" stands twice in this mapping`,
          `Keep one; the first is on line ${first.at.line}`,
        );
      }
    }
    return { kind: "map", ...at, entries, size, depth: depth + 1 };
  }

  #list(node: YAMLSeq, path: Path, at: Place): Tree {
    const items = node.items.map((item, index) => this.build(item as ParsedNode | null, [...path, index], at));
    const size = items.reduce((sum, item) => sum + item.size, 1);
    return { kind: "list", ...at, items, size, depth: items.reduce((most, item) => Math.max(most, item.depth), 0) + 1 };
  }

  #scalar(node: Node, path: Path, at: Place): Tree {
    const value: unknown = isScalar(node) ? node.value : undefined;
    if (typeof value === "string") return { kind: "scalar", ...at, value, size: value.length + 1, depth: 0 };
    if (value === null || typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))) {
      return { kind: "scalar", ...at, value, size: 1, depth: 0 };
    }
    this.report(
      at,
      path,
      `A value of type ${typeof value} cannot be stored`,
      "Use text, a finite number, true, false, null, a list or a mapping",
    );
    return { kind: "scalar", ...at, value: null, size: 1, depth: 0 };
  }
}

/** Where `path` stands; for what is missing, the nearest part that exists. */
export function locate(tree: Tree, path: Path): Place {
  let place: Place = tree;
  let here: Tree | undefined = tree;
  for (const step of path) {
    const entry: { readonly at: Place; readonly value: Tree } | undefined =
      here?.kind === "map" ? here.entries.get(String(step)) : undefined;
    here = here?.kind === "list" && typeof step === "number" ? here.items[step] : entry?.value;
    if (here === undefined) return place;
    place = here.kind === "scalar" || entry === undefined ? here : entry.at;
  }
  return place;
}

/** The part of the tree at `path`, or undefined. */
export function subtree(tree: Tree, path: Path): Tree | undefined {
  let here: Tree | undefined = tree;
  for (const step of path) {
    if (here?.kind === "list" && typeof step === "number") here = here.items[step];
    else if (here?.kind === "map") here = here.entries.get(String(step))?.value;
    else return undefined;
  }
  return here;
}

/** The plain value of a tree. Safe: sizes were checked when it was read. */
export function toData(tree: Tree): unknown {
  switch (tree.kind) {
    case "scalar":
      return tree.value;
    case "list":
      return tree.items.map(toData);
    case "map":
      return Object.fromEntries([...tree.entries].map(([key, entry]) => [key, toData(entry.value)]));
  }
}

/** `["playbook", 0, "on"]` as `playbook[0].on`. */
export const pathText = (path: Path): string =>
  path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : `${text}${text === "" ? "" : "."}${step}`),
    "",
  ) || "$";

/** Longest value quoted in a message, in characters. */
const MAX_QUOTED = 60;

export const short = (text: string): string => (text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 1)}…` : text);

/** Longest message of the YAML parser passed on, in characters: it may quote the text. */
const MAX_SYNTAX_MESSAGE = 200;

const sentence = (text: string): string =>
  text.charAt(0).toUpperCase() + text.slice(1, MAX_SYNTAX_MESSAGE).replace(/\.$/, "");
