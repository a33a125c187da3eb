import { describe, expect, test } from "vitest";
import { deviceKind, OFFLINE_ALERT_MS, RECENT_ALERTS, STABLE_MS, SUSPECT_MS } from "../../actors/device.ts";
import { DEVICES_LIMIT, hostKind, REMOVED_MS } from "../../actors/host.ts";
import type { PersistedMachine } from "../../runtime/machine.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const ID = "sunri-pi1:device2";
const online = { type: "online", facts: { model: "stb", name: "EOS", capabilities: { av: "hdmi_stream" } } };
const silent = { type: "silent" };
/** Time enough that a suspect one is offline. */
const gone = { type: "time passes" };
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
    ["unknown", [], silent, "suspect"],
    ["unknown", [], observed("alert.freeze"), "unknown"],
    ["online", [online], online, "online"],
    ["online", [online], silent, "suspect"],
    ["suspect", [online, silent], online, "online"],
    ["suspect", [silent], silent, "suspect"],
    ["suspect", [silent], observed("alert.freeze"), "suspect"],
    ["online", [online], observed("zap.measured"), "online"],
    ["offline", [silent, gone], online, "online"],
    ["offline", [silent, gone], silent, "offline"],
    ["offline", [silent, gone], observed("alert.freeze"), "offline"],
  ] as const)("in %s goes where presence says (case %#)", (state, before, event, after) => {
    const actor = device();
    for (const one of before) {
      if (one === gone) actor.advance(SUSPECT_MS);
      else actor.send(one);
    }
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

  const status = (actor: DrivenActor) => actor.published.map(({ event }) => (event.data as { status: string }).status);

  test("closes its alert once it has stayed, and raises no other while it flaps", () => {
    const actor = device().send(online).send(silent).advance(OFFLINE_ALERT_MS);
    for (let i = 0; i < 10; i++) {
      actor.send(online).advance(STABLE_MS - 1);
      actor.send(silent).advance(2 * OFFLINE_ALERT_MS);
    }
    expect(status(actor)).toEqual(["active"]);
    actor.send(online).advance(STABLE_MS);
    expect(status(actor)).toEqual(["active", "resolved"]);
    expect(actor.published.at(-1)?.event.priority).toBe("low");
    actor.send(silent).advance(OFFLINE_ALERT_MS);
    expect(status(actor)).toEqual(["active", "resolved", "active"]);
  });

  test("leaves the alert to its host while that is down, and tells its lock", () => {
    const actor = device().send(online).send(silent).advance(SUSPECT_MS);
    expect(actor.sentTo("host/sunri-pi1")).toEqual(["deviceThere", "deviceAway"]);
    actor.clear().send({ type: "hostDown" }, "host/sunri-pi1").advance(OFFLINE_ALERT_MS);
    expect(actor.published).toEqual([]);
    expect(actor.sentTo(`resource/${ID}`)).toEqual(["hostLost"]);
    actor.send({ type: "hostUp" }, "host/sunri-pi1").advance(0);
    expect(actor.sentTo(`resource/${ID}`)).toEqual(["hostLost", "hostBack"]);
    expect(status(actor)).toEqual(["active"]);
  });
});

describe("host", () => {
  const say = (actor: DrivenActor, type: string, name: string) =>
    actor.tell({ type, device: name }, `device/sunri-pi1:${name}`);
  const host = () => {
    const actor = new DrivenActor(hostKind, "sunri-pi1");
    for (const name of ["device1", "device2"]) say(actor, "deviceThere", name);
    return actor;
  };

  test.each(["client-1", "host/sunri-pi2", "device/sunri-pi1:device1"])(
    "leaves its lock alone when %s says that its host is down or back",
    (stranger) => {
      const actor = new DrivenActor(deviceKind, "sunri-pi1:device2").send({ type: "online", facts: {} });
      actor.send({ type: "silent" }).advance(SUSPECT_MS).clear();
      expect(actor.send({ type: "hostDown" }, stranger).sent).toEqual([]);
      expect(actor.send({ type: "hostDown" }, "host/sunri-pi1").sentTo("resource/sunri-pi1:device2")).toEqual([
        "hostLost",
      ]);
      expect(actor.clear().send({ type: "hostUp" }, stranger).sent).toEqual([]);
    },
  );

  test("is down when all its devices are away, and tells each of them, then that it is up", () => {
    const actor = say(host(), "deviceAway", "device1");
    expect(actor.value).toBe("up");
    say(actor, "deviceAway", "device2");
    expect(actor.value).toBe("down");
    for (const name of ["device1", "device2"]) expect(actor.sentTo(`device/sunri-pi1:${name}`)).toEqual(["hostDown"]);
    say(actor, "deviceThere", "device1");
    for (const name of ["device1", "device2"])
      expect(actor.sentTo(`device/sunri-pi1:${name}`)).toEqual(["hostDown", "hostUp"]);
  });

  test("raises one alert for all of them, and closes it", () => {
    const actor = say(say(host(), "deviceAway", "device1"), "deviceAway", "device2").advance(OFFLINE_ALERT_MS);
    expect(actor.published).toMatchObject([{ event: { type: "alert.host_offline", data: { status: "active" } } }]);
    say(actor, "deviceThere", "device1").advance(STABLE_MS);
    expect(actor.published.at(-1)).toMatchObject({ event: { data: { status: "resolved" } } });
  });

  test("is not called down for its only device, and believes only its own", () => {
    const one = say(new DrivenActor(hostKind, "sunri-pi1"), "deviceThere", "device1");
    expect(say(one, "deviceAway", "device1").value).toBe("up");
    const actor = say(host(), "deviceAway", "device1").send(
      { type: "deviceAway", device: "device2" },
      "device/other:device2",
    );
    expect(actor.value).toBe("up");
  });

  test("does not tell a device beyond the limit that it is down, since it would not tell it that it is up", () => {
    const actor = say(new DrivenActor(hostKind, "sunri-pi1"), "deviceThere", "device0");
    for (let i = 1; i < DEVICES_LIMIT; i++) say(actor, "deviceAway", `device${i}`);
    say(actor, "deviceAway", "device0");
    say(actor, "deviceAway", "surplus");
    expect(actor.value).toBe("down");
    expect(actor.sentTo(`device/sunri-pi1:device${DEVICES_LIMIT - 1}`)).toEqual(["hostDown"]);
    expect(actor.sentTo("device/sunri-pi1:surplus")).toEqual([]);
  });

  test("is no more called down for its only device once the others were taken off it, and is while they may come back", () => {
    const flap = (actor: DrivenActor) => say(say(actor, "deviceThere", "device1"), "deviceAway", "device1").value;
    const actor = say(host(), "deviceAway", "device2").advance(REMOVED_MS - 1);
    expect(flap(actor)).toBe("down");
    say(actor, "deviceThere", "device1").advance(1);
    say(actor, "deviceAway", "device2"); // told again once the host is back
    expect(flap(actor)).toBe("up");
    say(actor, "deviceThere", "device2");
    expect(say(actor, "deviceAway", "device2").value).toBe("down");
  });

  test("that is down for days tells each of its devices when it is back", () => {
    const actor = say(say(host(), "deviceAway", "device1"), "deviceAway", "device2").advance(2 * REMOVED_MS);
    say(actor, "deviceThere", "device1");
    expect(actor.sentTo("device/sunri-pi1:device2")).toEqual(["hostDown", "hostUp"]);
  });

  test("of version 1 keeps who is there and who is away", () => {
    const context = { id: "sunri-pi1", devices: { device1: true, device2: false }, sinceMs: 5, isAlertOpen: false };
    const stored: PersistedMachine = { status: "active", output: undefined, error: undefined, value: "up", context };
    expect(hostKind.migrate?.(stored, 1)?.context).toEqual({ ...context, devices: { device1: null, device2: 5 } });
  });
});
