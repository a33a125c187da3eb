/**
 * Every stream and bucket of a cluster as data. Invariant: applying this list twice changes nothing the second time.
 * Durations are nanoseconds, sizes bytes, as the server's API has them.
 */
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "@nats-io/jetstream";
import type { Names } from "./subjects.ts";

const S = 1_000_000_000;
const DAY = 24 * 3_600 * S;
const GiB = 1024 ** 3;

/** A device that sent no heartbeat for this long is silent, in seconds. Hosts ping every few seconds; see the lab. */
export const PRESENCE_TTL_S = 15;
/** How long dead letters wait for a person, in days. */
export const DEAD_LETTER_DAYS = 30;
/** How long an event can be replayed from its pool, in days. */
export const POOL_DAYS = 7;
/** How long an actor's inputs are kept unless its kind says otherwise, in days. */
export const HISTORY_DAYS = 30;
/** A publisher that repeats an event id within this long is recognised, in seconds. */
export const DUPLICATE_WINDOW_S = 120;
/** Ceiling of the journal. It holds only what no snapshot covers, so reaching it means that snapshots fail. */
export const JOURNAL_MAX_BYTES = 8 * GiB;

export type StreamSpec = Partial<StreamConfig> & { readonly name: string; readonly subjects: string[] };

export interface StreamOptions {
  /** 1 for one server, 3 for a cluster of three or more. */
  readonly replicas?: number;
}

function kvSpec(kv: { stream: string; bucket: string }, extra: Partial<StreamConfig> = {}): StreamSpec {
  return {
    name: kv.stream,
    subjects: [`$KV.${kv.bucket}.>`],
    max_msgs_per_subject: 1,
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
    deny_delete: true,
    allow_direct: true,
    ...extra,
  };
}

export function streamSpecs(names: Names, options: StreamOptions = {}): StreamSpec[] {
  const { stream, kv } = names;
  const common: Partial<StreamConfig> = {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    num_replicas: options.replicas ?? 1,
    discard: DiscardPolicy.Old,
    allow_direct: true,
  };
  const specs: StreamSpec[] = [
    // Discard new: a full journal refuses, and the refusal reaches the caller as "busy". It never forgets.
    { name: stream.journal, subjects: [names.journals], discard: DiscardPolicy.New, max_bytes: JOURNAL_MAX_BYTES },
    { name: stream.snapshot, subjects: [names.snapshots], max_msgs_per_subject: 1, allow_msg_ttl: true },
    { name: stream.history, subjects: [names.histories], max_age: HISTORY_DAYS * DAY, allow_msg_ttl: true },
    {
      name: stream.wake,
      subjects: [names.timers, names.wakes],
      max_msgs_per_subject: 1,
      allow_msg_schedules: true,
      allow_msg_ttl: true,
    },
    { name: stream.dead, subjects: [names.deadAll], max_age: DEAD_LETTER_DAYS * DAY, max_bytes: GiB },
    {
      name: stream.pool,
      subjects: [names.poolAll],
      max_age: POOL_DAYS * DAY,
      max_bytes: 4 * GiB,
      duplicate_window: DUPLICATE_WINDOW_S * S,
    },
    {
      // What was taken in is in its pool: only what waits is kept, and none of it is forgotten. Full, it refuses.
      name: stream.ingress,
      subjects: [names.deviceEvents, names.ingressAll],
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
      max_bytes: 4 * GiB,
      duplicate_window: DUPLICATE_WINDOW_S * S,
    },
    // The marker that the server leaves when the last heartbeat of a device ages out IS the "went silent" event.
    {
      name: stream.presence,
      subjects: [names.deviceHeartbeats],
      max_age: PRESENCE_TTL_S * S,
      max_msgs_per_subject: 1,
      allow_msg_ttl: true,
      subject_delete_marker_ttl: 60 * S,
      allow_rollup_hdrs: true,
    },
    kvSpec(kv.nodes, { allow_msg_ttl: true, subject_delete_marker_ttl: 5 * S }),
    kvSpec(kv.shards),
    kvSpec(kv.meta),
    kvSpec(kv.agents),
    kvSpec(kv.leases),
  ];
  return specs.map((spec) => ({ ...common, ...spec }));
}
