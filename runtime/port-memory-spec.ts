/** Which stream settings the in-memory broker keeps to. Invariant: a setting that it would ignore is refused, so that a test cannot pass on a broker that differs. */
import type { StreamSpec } from "../nats-config/streams.ts";

/** Kept to, or without meaning for one process that stores nothing on disk. */
const KNOWN = new Set([
  "name",
  "subjects",
  "description",
  "storage",
  "num_replicas",
  "retention",
  "compression",
  "allow_direct",
  "metadata",
  "max_age",
  "max_msgs",
  "max_msgs_per_subject",
  "max_bytes",
  "discard",
  "discard_new_per_subject",
  "duplicate_window",
  "deny_delete",
  "allow_rollup_hdrs",
  "allow_msg_ttl",
  "subject_delete_marker_ttl",
  "allow_msg_schedules",
  "max_consumers",
]);

/**
 * @throws {RangeError} The specification asks for something that only the real server does.
 */
export function refuseUnmodelled(spec: StreamSpec): void {
  const unknown = Object.keys(spec).filter((key) => !KNOWN.has(key));
  if (unknown.length > 0) {
    throw new RangeError(
      `The in-memory broker does not model "${unknown.join('", "')}" of the stream "${spec.name}": model it, or test on a real server`,
    );
  }
  if (spec.retention !== undefined && spec.retention !== "limits" && spec.retention !== "workqueue") {
    throw new RangeError(
      `The in-memory broker does not model the retention "${spec.retention}" of the stream "${spec.name}": use "limits" or "workqueue"`,
    );
  }
}
