/** What `replay` compares. Invariant: two states are the same if and only if their comparable texts are. */
import type { Address } from "../../runtime/address.ts";
import type { HistoryEntry } from "../../runtime/api.ts";
import type { ActorKind } from "../../runtime/define-actor.ts";
import { replayHistory } from "../../runtime/replay.ts";
import { toJson } from "../json.ts";

/** The state after one input. */
export interface ReplayedStep {
  readonly revision: number;
  readonly event: string;
  readonly value: unknown;
  readonly context: unknown;
}

export interface Replayed {
  readonly steps: readonly ReplayedStep[];
  readonly state: unknown;
}

export const replayWith = (kind: ActorKind, address: Address, entries: readonly HistoryEntry[]): Replayed => replayHistory(kind, address, entries);

const COMPARED = ["status", "value", "context", "output", "error", "revision", "event"] as const;

/** A state or step as text, with what one machine says and nothing of where it ran. */
export function comparable(state: unknown): string {
  if (typeof state !== "object" || state === null) return toJson(state ?? null);
  const fields = state as Readonly<Record<string, unknown>>;
  return toJson(Object.fromEntries(COMPARED.map((name) => [name, sorted(fields[name])])));
}

/** Objects with their keys in order: the wire may have changed it. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
