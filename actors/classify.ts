/**
 * Which pool an event belongs to and how urgent it is. Invariant: total and pure; whatever a device sends gets one pool
 * and one priority, and nothing an event says about its own urgency can move it to another pool.
 */
import { isPriority, type Priority, priorityRank } from "../runtime/priority.ts";

export interface Classified {
  readonly pool: string;
  readonly priority: Priority;
}

type Rule = readonly [pattern: string, value: string];

/** Matches a type exactly or by `prefix.*`; `*` alone matches all. */
export function typeMatches(pattern: string, type: string): boolean {
  if (pattern === "*") return true;
  return pattern.endsWith(".*") ? type.startsWith(pattern.slice(0, -1)) : pattern === type;
}

const POOLS: readonly Rule[] = [
  ["alert.*", "shared.alerts"],
  ["build.*", "shared.builds"],
  ["ci.*", "shared.builds"],
  ["schedule.*", "shared.schedules"],
  ["script.*", "shared.results"],
  ["execution.*", "shared.results"],
  ["zap.*", "shared.results"],
];
const OTHER_POOL = "shared.events";

const PRIORITY_OF_TYPE: readonly (readonly [string, Priority])[] = [
  ["alert.blackscreen", "critical"],
  ["alert.device_crash", "critical"],
  ["alert.device_offline", "critical"],
  ["alert.freeze", "high"],
  ["alert.macroblocks", "high"],
  ["alert.audio_loss", "normal"],
  ["build.deployed", "high"],
  ["build.failed", "high"],
  ["ci.failed", "high"],
  ["script.failed", "high"],
  ["execution.failed", "high"],
  ["metrics.*", "low"],
  ["log.*", "low"],
  ["cleanup.*", "low"],
];

/** The lab's words for severity that differ from ours. */
const SEVERITIES: ReadonlyMap<unknown, Priority> = new Map([["medium", "normal"]]);
/** An alert seen this often in a row is at least so urgent: the lab raises its severity at the same counts. */
const CRITICAL_COUNT = 10;
const HIGH_COUNT = 5;

/** `priority` is what the envelope (CloudEvents extension) says, if anything. */
export function classify(type: string, data: unknown, priority?: unknown): Classified {
  const pool = POOLS.find(([pattern]) => typeMatches(pattern, type))?.[1] ?? OTHER_POOL;
  return { pool, priority: priorityOf(type, fieldsOf(data), priority) };
}

function priorityOf(type: string, data: Readonly<Record<string, unknown>>, envelope: unknown): Priority {
  if (type.startsWith("alert.") && isOver(data)) return "low";
  for (const said of [envelope, data["priority"], data["severity"]]) {
    const level = isPriority(said) ? said : SEVERITIES.get(said);
    if (level !== undefined) return level;
  }
  const byType = PRIORITY_OF_TYPE.find(([pattern]) => typeMatches(pattern, type))?.[1] ?? "normal";
  return [byType, byCount(type, data), byResult(type, data)].reduce((a, b) =>
    priorityRank(b) < priorityRank(a) ? b : a,
  );
}

const isOver = (data: Readonly<Record<string, unknown>>): boolean =>
  data["status"] === "resolved" || (data["end_time"] !== undefined && data["end_time"] !== null);

function byCount(type: string, data: Readonly<Record<string, unknown>>): Priority {
  const count = data["consecutive_count"];
  if (!type.startsWith("alert.") || typeof count !== "number") return "low";
  if (count >= CRITICAL_COUNT) return "critical";
  return count >= HIGH_COUNT ? "high" : "low";
}

/** A test that failed is worth a prompt look, by whatever name its result arrives. */
function byResult(type: string, data: Readonly<Record<string, unknown>>): Priority {
  if (type.startsWith("script.") || type.startsWith("execution.")) return data["success"] === false ? "high" : "low";
  if (!type.startsWith("ci.") || !Array.isArray(data["jobs"])) return "low";
  return data["jobs"].some((job: unknown) => fieldsOf(job)["status"] === "failure") ? "high" : "low";
}

/** Own fields of a plain object; none of anything else. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
