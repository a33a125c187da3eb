/**
 * Compares a stream as it is with the stream as specified. Invariant: a value that the server fills in by itself is no
 * drift, and no change is proposed that would delete what is stored or keep fewer copies of it.
 */
import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { nanos } from "nats";
import type { StreamSpec } from "./streams.ts";

export interface FieldDrift {
  readonly field: string;
  readonly wanted: unknown;
  readonly found: unknown;
  /** Why the field stays as found. Absent: it was, or can be, updated. */
  readonly kept?: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** The server's own window when a stream names none, unless its messages live shorter. */
const DEFAULT_DUPLICATE_WINDOW_NS = nanos(120_000);

const SERVER_DEFAULTS: Fields = {
  retention: "limits",
  storage: "file",
  discard: "old",
  discard_new_per_subject: false,
  num_replicas: 1,
  max_consumers: -1,
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  max_msgs_per_subject: -1,
  max_msg_size: -1,
  compression: "none",
  sealed: false,
  deny_delete: false,
  deny_purge: false,
  allow_direct: false,
  mirror_direct: false,
  allow_rollup_hdrs: false,
  allow_msg_ttl: false,
  allow_msg_schedules: false,
  allow_msg_counter: false,
  allow_atomic: false,
  allow_batched: false,
  subject_delete_marker_ttl: 0,
  no_ack: false,
};

const LIMITS = ["max_consumers", "max_msgs", "max_bytes", "max_msgs_per_subject", "max_msg_size"];
/** Lowering one of these deletes stored messages at once. */
const DELETING_LIMITS = new Set(["max_msgs", "max_bytes", "max_age", "max_msgs_per_subject"]);

function asNumber(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

/** The specification with everything that the server adds to it. */
function completed(spec: StreamSpec): Fields {
  const wanted: Record<string, unknown> = { ...SERVER_DEFAULTS, ...spec };
  for (const limit of LIMITS) if (wanted[limit] === 0) wanted[limit] = -1;
  if (asNumber(wanted["subject_delete_marker_ttl"]) > 0)
    Object.assign(wanted, { allow_msg_ttl: true, allow_rollup_hdrs: true });
  if (wanted["allow_msg_schedules"] === true) wanted["allow_rollup_hdrs"] = true;
  if (asNumber(wanted["duplicate_window"]) === 0) {
    const maxAge = asNumber(wanted["max_age"]);
    wanted["duplicate_window"] =
      maxAge > 0 ? Math.min(maxAge, DEFAULT_DUPLICATE_WINDOW_NS) : DEFAULT_DUPLICATE_WINDOW_NS;
  }
  return wanted;
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).sort().join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "undefined";
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return `{${entries
    .map(([key, entry]) => `${key}:${canonical(entry)}`)
    .sort()
    .join()}}`;
}

/** The stream's own metadata; keys starting with `_nats.` are the server's notes to itself. */
function ownMetadata(value: unknown): Fields {
  return Object.fromEntries(Object.entries(value ?? {}).filter(([key]) => !key.startsWith("_nats.")));
}

function whyKept(field: string, wanted: unknown, found: unknown, messages: number): string | undefined {
  const [to, from] = [asNumber(wanted), asNumber(found)];
  if (field === "num_replicas") return to < from ? "fewer copies are made only by hand" : undefined;
  if (field === "retention" && [wanted, found].includes("workqueue"))
    return "the server makes no work queue of another stream, nor the other way: delete the stream when it is empty";
  if (messages === 0) return undefined;
  if (field === "retention") return "another retention would delete stored messages";
  if (DELETING_LIMITS.has(field) && to > 0 && (from <= 0 || to < from))
    return "the lower limit would delete stored messages";
  return undefined;
}

/** Every field in which the stream differs from its specification, by name. */
export function driftOf(spec: StreamSpec, info: Pick<StreamInfo, "config" | "state">): FieldDrift[] {
  const found: Fields = { ...SERVER_DEFAULTS, ...info.config, metadata: ownMetadata(info.config.metadata) };
  const wanted: Fields = { ...completed(spec), metadata: ownMetadata(spec.metadata) };
  return Object.keys(wanted)
    .sort()
    .filter((field) => canonical(wanted[field]) !== canonical(found[field]))
    .map((field) => {
      const kept = whyKept(field, wanted[field], found[field], info.state.messages);
      return { field, wanted: wanted[field], found: found[field], ...(kept === undefined ? {} : { kept }) };
    });
}

/** The changes of `drift` as the server takes them. */
export function changesOf(drift: readonly FieldDrift[]): Partial<StreamConfig> {
  return Object.fromEntries(
    drift.filter((entry) => entry.kept === undefined).map((entry) => [entry.field, entry.wanted]),
  );
}
