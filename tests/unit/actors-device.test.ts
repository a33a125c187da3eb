import { describe, expect, test } from "vitest";
import { deviceKind, OFFLINE_ALERT_MS, RECENT_ALERTS } from "../../actors/device.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const ID = "sunri-pi1:device2";
const online = { type: "online", facts: { model: "stb", name: "EOS", capabilities: { av: "hdmi_stream" } } };
const silent = { type: "silent" };
const observed = (type: string, id = "e1") => ({
  type: "observed",
  event: {
    id,
    source: "device/sunri-pi1/device2",
    type,
    timeMs: START_MS,
    priority: "high",
    data: { big: "x".repeat(1_000) },
    device: { host: "sunri-pi1", device: "device2" },
  },
});
const device = () => new DrivenActor(deviceKind, ID);

describe("device", () => {
  test.each([
    ["unknown", [], online, "online"],
    ["unknown", [], silent, "offline"],
    ["unknown", [], observed("alert.freeze"), "unknown"],
    ["online", [online], online, "online"],
    ["online", [online], silent, "offline"],
    ["online", [online], observed("zap.measured"), "online"],
    ["offline", [silent], online, "online"],
    ["offline", [silent], silent, "offline"],
    ["offline", [silent], observed("alert.freeze"), "offline"],
  ] as const)("in %s goes where presence says (case %#)", (state, before, event, after) => {
    const actor = device();
    for (const one of before) actor.send(one);
    expect(actor.value ?? "unknown").toBe(state);
    expect(actor.send(event).value).toBe(after);
  });

  test("knows who it is from its address, and what it is from its heartbeats", () => {
    const actor = device()
      .send(online)
      .send({ type: "online", facts: { name: "EOS 2" } });
    expect(actor.context).toMatchObject({
      id: ID,
      host: "sunri-pi1",
      device: "device2",
      model: "stb",
      name: "EOS 2",
      capabilities: { av: "hdmi_stream" },
    });
  });

  test("publishes one critical alert after five minutes of silence, however often silence is reported", () => {
    const actor = device()
      .send(online)
      .send(silent)
      .advance(OFFLINE_ALERT_MS / 2)
      .send(silent)
      .advance(OFFLINE_ALERT_MS / 2 - 1);
    expect(actor.published).toEqual([]);
    actor.advance(1);
    expect(actor.published).toMatchObject([
      {
        pool: "shared.alerts",
        event: {
          type: "alert.device_offline",
          priority: "critical",
          data: {
            host_name: "sunri-pi1",
            device_id: "device2",
            device_model: "stb",
            status: "active",
            offline_since_ms: START_MS,
          },
        },
      },
    ]);
    actor.send(silent).advance(10 * OFFLINE_ALERT_MS);
    expect(actor.published).toHaveLength(1);
  });

  test("takes the alert back when the device returns in time, and raises it anew at the next silence", () => {
    const actor = device()
      .send(silent)
      .advance(OFFLINE_ALERT_MS - 1)
      .send(online)
      .advance(OFFLINE_ALERT_MS);
    expect(actor.published).toEqual([]);
    expect(actor.timers).toEqual({});
    actor.send(silent).advance(OFFLINE_ALERT_MS);
    expect(actor.published).toHaveLength(1);
    expect(actor.context).toMatchObject({ counters: { onlines: 1, offlines: 2 } });
  });

  test("keeps the last event and a bounded list of alerts without their data", () => {
    const actor = device();
    for (let i = 0; i < 30; i++) actor.send(observed("alert.freeze", `e${i}`));
    actor.send(observed("zap.measured", "z"));
    const context = actor.context as { alerts: { id: string }[]; lastEvent: object; counters: object };
    expect(context.alerts.map(({ id }) => id)).toEqual(Array.from({ length: RECENT_ALERTS }, (_, i) => `e${i + 10}`));
    expect(context.lastEvent).toEqual({ id: "z", type: "zap.measured", priority: "high", timeMs: START_MS });
    expect(context.counters).toMatchObject({ events: 31, alerts: 30 });
  });
});
