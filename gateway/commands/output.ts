/**
 * What a command prints. Invariant: with --json stdout holds JSON and nothing else; without it text for people; errors and
 * remarks go to stderr.
 */
import { toJson } from "../json.ts";

export interface Io {
  out(text: string): void;
  err(text: string): void;
}

export class Output {
  readonly json: boolean;
  readonly #io: Io;

  constructor(io: Io, json: boolean) {
    this.#io = io;
    this.json = json;
  }

  /** One JSON line, or the text that `human` makes of it. */
  print<T>(data: T, human: (data: T) => string): void {
    this.#io.out(this.json ? `${toJson(data) ?? "null"}\n` : ensureNewline(human(data)));
  }

  /** Something worth knowing that is not the answer. */
  remark(text: string): void {
    this.#io.err(ensureNewline(text));
  }
}

const ensureNewline = (text: string): string => (text.endsWith("\n") ? text : `${text}\n`);

/** Longest cell of a table, in characters: a row should fit a terminal. */
const MAX_CELL = 60;

/** Columns aligned by spaces; numbers to the right. Control characters of a cell cannot move the cursor. */
export function table(headers: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const cells = [headers, ...rows.map((row) => row.map((cell) => shorten(String(cell))))];
  const widths = headers.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const right = headers.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
  return cells
    .map((row) =>
      row
        .map((cell, i) => (right[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

/** One line of at most `max` characters. */
export function shorten(text: string, max: number = MAX_CELL): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const plain = text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
  return plain.length <= max ? plain : `${plain.slice(0, max - 1)}…`;
}

/** XState's state value as one word: `running`, `open.waiting`, `{a.b, c}`. */
export function stateText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return "";
  const parts = Object.entries(value).map(([key, inner]) => {
    const text = stateText(inner);
    return text === "" || text === "{}" ? key : `${key}.${text}`;
  });
  return parts.length === 1 ? (parts[0] ?? "") : `{${parts.join(", ")}}`;
}

export const pretty = (data: unknown): string => JSON.stringify(JSON.parse(toJson(data) ?? "null"), null, 2);

export const timeText = (ms: number): string =>
  Number.isFinite(ms) ? new Date(ms).toISOString().replace("T", " ").slice(0, 19) : "-";

/** How long ago, or until, in the unit that reads best. */
export function spanText(ms: number): string {
  const s = Math.round(Math.abs(ms) / 1_000);
  if (s < 120) return `${s}s`;
  return s < 7_200 ? `${Math.round(s / 60)}m` : `${Math.round(s / 3_600)}h`;
}
