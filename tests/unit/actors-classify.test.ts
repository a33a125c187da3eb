import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { classify, typeMatches } from "../../actors/classify.ts";
import { isPriority } from "../../runtime/priority.ts";

const samples = new Map<string, unknown>(
  readFileSync(new URL("../fixtures/lab-samples.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { sample: string; data: unknown })
    .map(({ sample, data }) => [sample, data]),
);

describe("classify()", () => {
  test.each([
    ["alert.blackscreen", {}, "shared.alerts", "critical"],
    ["alert.device_crash", {}, "shared.alerts", "critical"],
    ["alert.device_offline", {}, "shared.alerts", "critical"],
    ["alert.freeze", {}, "shared.alerts", "high"],
    ["alert.macroblocks", {}, "shared.alerts", "high"],
    ["alert.audio_loss", {}, "shared.alerts", "normal"],
    ["alert.other", {}, "shared.alerts", "normal"],
    ["build.deployed", {}, "shared.builds", "high"],
    ["build.started", {}, "shared.builds", "normal"],
    ["ci.run", {}, "shared.builds", "normal"],
    ["schedule.regression", {}, "shared.schedules", "normal"],
    ["script.result", { success: true }, "shared.results", "normal"],
    ["script.result", { success: false }, "shared.results", "high"],
    ["execution.failed", {}, "shared.results", "high"],
    ["zap.measured", {}, "shared.results", "normal"],
    ["metrics.host", {}, "shared.events", "low"],
    ["chat.message", {}, "shared.events", "normal"],
    ["alertness", {}, "shared.events", "normal"],
  ] as const)("puts %s with %j into %s as %s", (type, data, pool, priority) => {
    expect(classify(type, data)).toEqual({ pool, priority });
  });

  test.each([
    ["the envelope's word first", { priority: "low", severity: "high" }, "critical", "critical"],
    ["data.priority", { priority: "low", severity: "high" }, undefined, "low"],
    ["data.severity", { severity: "high" }, undefined, "high"],
    ["medium as normal", { severity: "medium" }, undefined, "normal"],
    ["no word that is not a priority", { priority: "urgent", severity: 9 }, "soon", "high"],
  ] as const)("takes %s", (_what, data, envelope, priority) => {
    expect(classify("alert.freeze", data, envelope).priority).toBe(priority);
  });

  test.each([
    [1, "normal"],
    [4, "normal"],
    [5, "high"],
    [10, "critical"],
  ] as const)("raises an alert seen %i times in a row to %s at least", (count, priority) => {
    expect(classify("alert.audio_loss", { consecutive_count: count }).priority).toBe(priority);
    expect(classify("alert.blackscreen", { consecutive_count: count }).priority).toBe("critical");
  });

  test("gives an incident that is over the low priority whatever else it says", () => {
    expect(classify("alert.blackscreen", { status: "resolved", priority: "critical" }).priority).toBe("low");
    expect(classify("alert.blackscreen", { end_time: "2025-08-18T00:07:00Z" }, "critical").priority).toBe("low");
    expect(classify("alert.blackscreen", { status: "active", end_time: null }).priority).toBe("critical");
  });

  test("classifies the lab's own records", () => {
    expect(classify("alert.freeze", samples.get("S3_alert_freeze_active"))).toEqual({
      pool: "shared.alerts",
      priority: "high",
    });
    expect(classify("zap.measured", samples.get("S6_zap"))).toEqual({ pool: "shared.results", priority: "normal" });
    expect(classify("script.result", samples.get("S7_script_result"))).toEqual({
      pool: "shared.results",
      priority: "normal",
    });
    expect(classify("build.deployed", samples.get("S9_build_deployed"))).toEqual({
      pool: "shared.builds",
      priority: "high",
    });
    expect(classify("ci.run", samples.get("S10_ci_run"))).toEqual({ pool: "shared.builds", priority: "high" });
  });

  test("gives any input one pool by its type alone, and one of the four priorities", () => {
    fc.assert(
      fc.property(fc.string(), fc.anything(), fc.anything(), (type, data, envelope) => {
        const { pool, priority } = classify(type, data, envelope);
        expect(isPriority(priority)).toBe(true);
        expect(pool).toBe(classify(type, null).pool);
      }),
    );
  });
});

test.each([
  ["alert.freeze", "alert.freeze", true],
  ["alert.*", "alert.freeze", true],
  ["alert.*", "alert.video.freeze", true],
  ["alert.*", "alert", false],
  ["alert.*", "alerts.freeze", false],
  ["*", "anything.at.all", true],
  ["alert.freeze", "alert.freeze.long", false],
] as const)("typeMatches(%j, %j) is %j", (pattern, type, matches) => {
  expect(typeMatches(pattern, type)).toBe(matches);
});
