/** Finds templates in a step's arguments. Invariant: a template that passes names only what a task has: the event, the device, an earlier step. */
import { nearest } from "./nearest.ts";
import { type Path, short, type Tree } from "./positions.ts";

/** Everything that looks like a template, also an unfinished one; `$${` stands for a plain `${`. */
const TEMPLATE = /\$\$\{|\$\{[^}]*\}?/g;
const ESCAPED = "$${";
const EVENT_FIELDS = ["id", "source", "type", "timeMs", "priority", "data", "device"];
const DEVICE_FIELDS = ["host", "device"];
const STEP_FIELDS = ["status", "output"];

/** Every template below `tree`, with its path. Iterative, as deep trees are input like any other. */
export function templatesIn(tree: Tree, path: Path): { readonly template: string; readonly path: Path }[] {
  const found: { template: string; path: Path }[] = [];
  const waiting: { tree: Tree; path: Path }[] = [{ tree, path }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { tree: here, path: at } = next;
    if (here.kind === "list") here.items.forEach((item, index) => waiting.push({ tree: item, path: [...at, index] }));
    else if (here.kind === "map")
      here.entries.forEach((entry, key) => waiting.push({ tree: entry.value, path: [...at, key] }));
    else if (typeof here.value === "string") {
      for (const [template] of here.value.matchAll(TEMPLATE)) {
        if (template !== ESCAPED) found.push({ template, path: at });
      }
    }
  }
  return found;
}

/** What is wrong with a template, or null. */
export function templateProblem(
  template: string,
  earlier: readonly string[],
  all: readonly string[],
): { readonly message: string; readonly hint: string } | null {
  const quoted = short(template);
  const [root, first = "", second = "", ...rest] = template.slice(2, -1).trim().split(".");
  const isWhole = template.endsWith("}") && !template.slice(2).includes("{");
  if (isWhole && root === "task" && first === "") return null;
  if (!isWhole || !["event", "device", "steps"].includes(root ?? "") || first === "" || rest.includes("")) {
    return {
      message: `The template "${quoted}" is not valid`,
      hint: 'Write "${event.data.<field>}" or "${steps.<id>.output.<field>}", or "$${" for a plain "${"',
    };
  }
  if (root === "event") return unknownField(quoted, first, EVENT_FIELDS, "event");
  if (root === "device") return unknownField(quoted, first, DEVICE_FIELDS, "device");
  if (!earlier.includes(first)) {
    const later = all.includes(first);
    const close = nearest(first, earlier);
    const hint = later
      ? "Move that step before this one"
      : close !== undefined
        ? `Did you mean "${close}"?`
        : earlier.length === 0
          ? "This is the first step: use the event"
          : `Earlier steps: ${earlier.join(", ")}`;
    return { message: `The template "${quoted}" refers to "${first}", which is no earlier step`, hint };
  }
  return unknownField(quoted, second, STEP_FIELDS, `steps.${first}`);
}

function unknownField(
  quoted: string,
  field: string,
  known: readonly string[],
  of: string,
): { readonly message: string; readonly hint: string } | null {
  if (known.includes(field)) return null;
  return { message: `The template "${quoted}" names no field of ${of}`, hint: `Fields of ${of}: ${known.join(", ")}` };
}
