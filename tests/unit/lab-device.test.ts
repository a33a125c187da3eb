/** The simulated device: pictures, their analysis, what is reported of them, and the plan of incidents. */
import { describe, expect, test } from "vitest";
import { SimulatedDevice } from "../../gateway/lab/device.ts";
import { analyseCapture, captureFrames } from "../../gateway/lab/frame.ts";
import { LAB_HOSTS, type LabHost, labHost } from "../../gateway/lab/hosts.ts";
import { incidentPlan, zapPlan } from "../../gateway/lab/plan.ts";
import {
  beginIncident,
  booted,
  cutPower,
  INITIAL_SCREEN,
  KEYS,
  pressKey,
  type Screen,
} from "../../gateway/lab/screen.ts";
import { type AlertRecord, ANALYSE_EVERY_MS, FrameWatcher, REPORT_AFTER } from "../../gateway/lab/watcher.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const PI1 = labHost("sunri-pi1") as LabHost;
const analyse = (screen: Screen, n = 500) => analyseCapture(captureFrames(screen, n, 0), { volume: 40 });

describe("analyseCapture()", () => {
  test("finds no fault in any healthy picture, of any application, channel and time", () => {
    for (const app of ["home", "live", "menu", "player"] as const) {
      for (let channel = 1; channel <= 5; channel++) {
        for (const n of [2, 77, 4_211, 99_998]) {
          const found = analyse({ ...INITIAL_SCREEN, app, channel }, n);
          expect({ app, channel, n, ...found }).toMatchObject({
            blackscreen: false,
            freeze: false,
            macroblocks: false,
          });
        }
      }
    }
  });

  test("tells each incident from its pixels", () => {
    expect(analyse(beginIncident(INITIAL_SCREEN, "blackscreen", 9))).toMatchObject({
      blackscreen: true,
      freeze: false,
      macroblocks: false,
      blackscreen_percentage: 100,
      freeze_diffs: [],
      quality_score: 0,
    });
    expect(analyse(beginIncident(INITIAL_SCREEN, "freeze", 9))).toMatchObject({
      blackscreen: false,
      freeze: true,
      macroblocks: false,
    });
    expect(analyse(beginIncident(INITIAL_SCREEN, "macroblocks", 9))).toMatchObject({
      blackscreen: false,
      freeze: false,
      macroblocks: true,
    });
  });

  test("leaves audio null when the capture carries no sound, and false when it is silent", () => {
    const capture = captureFrames(INITIAL_SCREEN, 10, 0);
    expect(analyseCapture(capture, { volume: null })).toMatchObject({
      audio: null,
      volume_percentage: null,
      mean_volume_db: null,
    });
    expect(analyseCapture(capture, { volume: 0 })).toMatchObject({ audio: false, mean_volume_db: -91 });
  });
});

describe("pressKey()", () => {
  test("ends every incident with HOME, and with no other key", () => {
    for (const key of KEYS) {
      const after = pressKey(beginIncident(INITIAL_SCREEN, "blackscreen", 1), key);
      expect([key, after.incident]).toEqual([key, key === "HOME" ? null : "blackscreen"]);
    }
  });

  test("hears nothing while the device boots, and only POWER and HOME in standby", () => {
    const booting = cutPower(INITIAL_SCREEN);
    const standby = pressKey(INITIAL_SCREEN, "POWER");
    for (const key of KEYS) {
      expect(pressKey(booting, key)).toBe(booting);
      expect([key, pressKey(standby, key).power]).toEqual([key, key === "POWER" || key === "HOME" ? "on" : "standby"]);
    }
    expect(booted(booting)).toMatchObject({ power: "on", app: "home", incident: null });
  });

  test("changes channels in a ring and the volume within 0 to 100", () => {
    expect(pressKey({ ...INITIAL_SCREEN, channel: 5 }, "CHANNEL_UP").channel).toBe(1);
    expect(pressKey({ ...INITIAL_SCREEN, channel: 1 }, "CHANNEL_DOWN").channel).toBe(5);
    expect(pressKey({ ...INITIAL_SCREEN, volume: 98 }, "VOLUME_UP").volume).toBe(100);
    expect(pressKey({ ...INITIAL_SCREEN, volume: 3 }, "VOLUME_DOWN").volume).toBe(0);
  });
});

describe("FrameWatcher", () => {
  function watch() {
    const clock = new SimClock({ seed: 3 });
    const device = new SimulatedDevice("sunri-pi1", PI1.devices[1] as never, clock);
    const alerts: AlertRecord[] = [];
    const watcher = new FrameWatcher(device, clock, (alert) => alerts.push(alert));
    const look = (times: number): void => {
      for (let i = 0; i < times; i++) {
        clock.advance(ANALYSE_EVERY_MS);
        watcher.look();
      }
    };
    return { device, alerts, look, clock };
  }

  test("look() reports an incident once, as a real lab's record, and its end under the same id", () => {
    const { device, alerts, look } = watch();
    look(3);
    device.begin("freeze");
    look(REPORT_AFTER - 1);
    expect(alerts).toEqual([]);
    look(20);
    expect(alerts).toHaveLength(1);
    expect(alerts[0]).toMatchObject({
      host_name: "sunri-pi1",
      device_id: "device2",
      device_name: "EOS",
      incident_type: "freeze",
      status: "active",
      consecutive_count: 1,
      end_time: null,
      checked: false,
      check_type: null,
      discard: false,
      metadata: {
        freeze: true,
        blackscreen: false,
        audio: false,
        last_3_filenames: [expect.stringMatching(/^capture_\d{4}\.jpg$/), expect.anything(), expect.anything()],
      },
    });
    expect(alerts[0]?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    device.end();
    look(3);
    expect(alerts).toHaveLength(2);
    expect(alerts[1]).toMatchObject({ id: alerts[0]?.id, status: "resolved", end_time: expect.stringMatching(/Z$/) });
  });

  test("look() does not take a reboot for a black screen", async () => {
    const { device, alerts, look, clock } = watch();
    const cycle = device.powerCycle();
    look(REPORT_AFTER - 1);
    await clock.advanceAsync(0);
    await cycle;
    look(REPORT_AFTER);
    expect(alerts).toEqual([]);
  });

  test("look() neither begins nor ends an incident on a degraded analysis", () => {
    const { device, alerts, look } = watch();
    device.begin("blackscreen");
    look(REPORT_AFTER);
    device.begin("degraded");
    look(10);
    expect(alerts.map(({ status }) => status)).toEqual(["active"]);
  });
});

describe("incidentPlan()", () => {
  const options = { seed: 42, firstIncidentMs: 2_000, minGapMs: 20_000, maxGapMs: 40_000 };
  const take = (seed: number, count: number, host = PI1) => {
    const plan = incidentPlan(host, { ...options, seed });
    return Array.from({ length: count }, () => plan.next().value);
  };

  test("repeats itself for one seed, and differs between seeds and hosts", () => {
    expect(take(42, 50)).toEqual(take(42, 50));
    expect(take(42, 50)).not.toEqual(take(43, 50));
    expect(take(42, 50)).not.toEqual(take(42, 50, labHost("sunri-pi2")));
  });

  test("begins with a black screen, keeps its gaps, and brings every kind in the end", () => {
    const plan = take(7, 400);
    expect(plan[0]).toMatchObject({ afterMs: 2_000, kind: "blackscreen", device: "device1" });
    for (const { afterMs, durationMs } of plan.slice(1)) {
      expect(afterMs).toBeGreaterThanOrEqual(20_000);
      expect(afterMs).toBeLessThanOrEqual(40_000);
      expect(durationMs).toBeGreaterThan(0);
    }
    expect(new Set(plan.map(({ kind }) => kind))).toEqual(
      new Set(["blackscreen", "freeze", "macroblocks", "silence", "degraded"]),
    );
    expect(new Set(plan.map(({ device }) => device))).toEqual(new Set(["device1", "device2"]));
  });

  test("zapPlan() repeats itself for one seed", () => {
    const [one, other] = [zapPlan(PI1, 5), zapPlan(PI1, 5)];
    for (let i = 0; i < 20; i++) expect(one.next().value).toEqual(other.next().value);
  });
});

test("LAB_HOSTS has all device models of the demo, each device once", () => {
  const devices = LAB_HOSTS.flatMap((host) => host.devices.map((device) => `${host.name}:${device.id}`));
  expect(new Set(devices).size).toBe(devices.length);
  expect(new Set(LAB_HOSTS.flatMap((host) => host.devices.map(({ model }) => model)))).toEqual(
    new Set(["android_mobile", "android_tv", "stb", "host_vnc"]),
  );
});
