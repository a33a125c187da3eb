import { DiscardPolicy, RetentionPolicy, type StreamConfig, type StreamInfo } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import { changesOf, driftOf } from "../../nats-config/drift.ts";
import type { StreamSpec } from "../../nats-config/streams.ts";

const SPEC: StreamSpec = { name: "S", subjects: ["a.>", "b.>"], max_age: 10_000, max_bytes: 500 };

function info(change: Partial<StreamConfig> = {}, messages = 1): Pick<StreamInfo, "config" | "state"> {
  const config = { ...SPEC, duplicate_window: 10_000, metadata: { "_nats.ver": "2.15.1" }, ...change } as StreamConfig;
  return { config, state: { messages } as StreamInfo["state"] };
}

describe("driftOf()", () => {
  test("finds nothing when only the order of subjects and the server's own values differ", () => {
    const filled = {
      subjects: ["b.>", "a.>"],
      max_msgs: -1,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
    };
    expect(driftOf(SPEC, info(filled))).toEqual([]);
  });

  test("finds nothing when the server turned on what a marker or a schedule needs", () => {
    const marker = { subject_delete_marker_ttl: 5, allow_msg_schedules: true };
    const found = { ...marker, allow_msg_ttl: true, allow_rollup_hdrs: true };
    expect(driftOf({ ...SPEC, ...marker }, info(found))).toEqual([]);
  });

  test("names a field that the specification leaves at its default when somebody set it", () => {
    expect(driftOf(SPEC, info({ max_msg_size: 10 }))).toEqual([{ field: "max_msg_size", wanted: -1, found: 10 }]);
  });

  test.each([
    ["max_age", { max_age: 20_000, duplicate_window: 10_000 }],
    ["max_age", { max_age: 0, duplicate_window: 10_000 }],
    ["max_bytes", { max_bytes: 1_000 }],
    ["max_bytes", { max_bytes: -1 }],
    ["num_replicas", { num_replicas: 3 }],
    ["retention", { retention: RetentionPolicy.Interest }],
  ])("keeps %s when the change would delete messages or copies: %j", (field, change) => {
    const drift = driftOf(SPEC, info(change));
    expect(drift).toEqual([expect.objectContaining({ field, kept: expect.any(String) as string })]);
    expect(changesOf(drift)).toEqual({});
  });

  test("lowers a limit when nothing is stored, and raises it at any time", () => {
    expect(changesOf(driftOf(SPEC, info({ max_bytes: 1_000 }, 0)))).toEqual({ max_bytes: 500 });
    expect(changesOf(driftOf(SPEC, info({ max_bytes: 100 }, 9)))).toEqual({ max_bytes: 500 });
    expect(changesOf(driftOf({ ...SPEC, max_bytes: 0 }, info({ max_bytes: 100 }, 9)))).toEqual({ max_bytes: -1 });
  });
});
