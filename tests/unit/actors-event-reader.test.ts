import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EVENT_LIMIT_BYTES, readIngress, readPooled } from "../../actors/event-reader.ts";
import { readHeartbeat } from "../../actors/heartbeat.ts";
import { poolRecord } from "../../actors/ingress.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { PayloadError } from "../../runtime/errors.ts";

const names = makeNames();
const STORED_MS = 1_767_225_600_000;
const stored = (subject: string, body: unknown, seq = 42) => ({
  subject,
  seq,
  timeMs: STORED_MS + 0.25,
  data: body instanceof Uint8Array ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
});
const fromDevice = names.deviceEvent("sunri-pi1", "device2", "alert.blackscreen");
const device2 = { host: "sunri-pi1", device: "device2" };
const samples = new Map(
  readFileSync(new URL("../fixtures/lab-samples.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { sample: string; data: Record<string, unknown> })
    .map(({ sample, data }) => [sample, data] as const),
);

describe("readIngress()", () => {
  test("reads a bare alert of the lab, with sender, type and device from the subject", () => {
    const data = samples.get("S3_alert_freeze_active");
    const subject = names.deviceEvent("sunri-pi1", "device2", "alert.freeze");
    expect(readIngress(stored(subject, data), names)).toEqual({
      pool: "shared.alerts",
      event: {
        id: "d9554265-4e0f-48bc-9097-4ce187c445d2",
        source: "device/sunri-pi1/device2",
        type: "alert.freeze",
        timeMs: STORED_MS,
        priority: "high",
        data,
        device: device2,
      },
    });
  });

  test("reads a CloudEvent, but believes the subject about who sent it", () => {
    const body = {
      specversion: "1.0",
      id: "e1",
      source: "device/other/device9",
      type: "x",
      time: "2025-08-18T00:06:31Z",
      priority: "low",
      data: { host_name: "other", device_id: "device9" },
    };
    expect(readIngress(stored(fromDevice, body), names).event).toEqual({
      id: "e1",
      source: "device/sunri-pi1/device2",
      type: "alert.blackscreen",
      timeMs: Date.parse("2025-08-18T00:06:31Z"),
      priority: "low",
      data: body.data,
      device: device2,
    });
  });

  test("takes the device of another source from its data, and never a default one", () => {
    const subject = names.ingress("http", "build.deployed");
    const read = (data: unknown) => readIngress(stored(subject, data), names).event;
    expect(read(samples.get("S9_build_deployed"))).toMatchObject({
      id: "in-42",
      source: "http",
      priority: "high",
      device: null,
    });
    expect(read(samples.get("S11_deployment_cron"))).toMatchObject({ device: device2 });
    expect(read({ host: "h", device: "d" })).toMatchObject({ device: { host: "h", device: "d" } });
    expect(read(samples.get("S6_zap"))).toMatchObject({ device: null });
    expect(read({ host_name: "a.b", device_id: "d" })).toMatchObject({ device: null });
    expect(read({ host_name: "a:b", device_id: "d" })).toMatchObject({ device: null });
    expect(read({ specversion: "1.0", id: "1", source: "jenkins", type: "t" })).toMatchObject({
      source: "jenkins",
      data: null,
    });
  });

  test("takes a number for an id as its decimal text, so that repeats have one name", () => {
    const idOf = (body: object) => readIngress(stored(fromDevice, body), names).event.id;
    expect(idOf({ id: 7 })).toBe("7");
    expect(idOf({ id: 0 })).toBe("0");
    expect(idOf({ id: null })).toBe("in-42");
    expect(idOf({ specversion: "1.0", id: 7, source: "s", type: "t" })).toBe("7");
  });

  test.each([
    ["not JSON", fromDevice, "{", "is not JSON"],
    ["not UTF-8", fromDevice, Buffer.from([0x7b, 0xff, 0x7d]), "is not JSON in UTF-8"],
    ["empty", fromDevice, "", "is not JSON"],
    ["a list", fromDevice, [1], "is not a JSON object"],
    ["a number", fromDevice, 7, "is not a JSON object"],
    ["null", fromDevice, null, "is not a JSON object"],
    ["too large", fromDevice, { x: "x".repeat(EVENT_LIMIT_BYTES) }, "store large data elsewhere"],
    ["too deep", fromDevice, `${'{"a":'.repeat(60)}1${"}".repeat(60)}`, "nested deeper"],
    [
      "of another CloudEvents version",
      fromDevice,
      { specversion: "0.3", id: "1", source: "s", type: "t" },
      'specversion "0.3"',
    ],
    ["a CloudEvent without an id", fromDevice, { specversion: "1.0", source: "s", type: "t" }, 'has no "id"'],
    [
      "binary and said to be JSON",
      fromDevice,
      { specversion: "1.0", id: "1", source: "s", type: "t", data_base64: "AA==" },
      "data_base64",
    ],
    ["named by an object", fromDevice, { id: { a: 1 } }, "is no text and no exact number"],
    ["named by a number that others share", fromDevice, `{"id":9007199254740993}`, "is no text and no exact number"],
    ["not storable", fromDevice, `{"id":"1","a":{"__proto__":1}}`, 'has the key "__proto__"'],
    ["named too long", fromDevice, { id: "x".repeat(300) }, "300 characters"],
    ["of a strange type", "device.h.d.event.a$b", {}, 'type "a$b" is not valid'],
    ["of a strange device", "device.h:1.d.event.a", {}, "names no device"],
  ])("refuses an event that is %s", (_what, subject, body, message) => {
    expect(() => readIngress(stored(subject, body), names)).toThrow(PayloadError);
    expect(() => readIngress(stored(subject, body), names)).toThrow(message);
  });

  test("gives an event or a PayloadError for any JSON and any bytes, and what it gives survives its pool", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.jsonValue(), fc.object(), fc.uint8Array()),
        fc.constantFrom(fromDevice, names.ingress("http", "x.y")),
        (body, subject) => {
          try {
            const pooled = readIngress(stored(subject, body), names);
            const record = poolRecord(pooled, names);
            expect(record.messageId).toMatch(/^[!-~]+$/);
            expect(readPooled({ ...record, seq: 1, timeMs: 0 })).toEqual(pooled);
          } catch (error) {
            if (!(error instanceof PayloadError)) throw error;
          }
        },
      ),
    );
  });
});

describe("readPooled()", () => {
  test("reads what an actor published, with its device from the data", () => {
    const body = {
      id: "device/x:3:0",
      source: "device/sunri-pi1:device2",
      type: "ignored",
      timeMs: 5,
      data: { host_name: "sunri-pi1", device_id: "device2" },
    };
    expect(readPooled(stored(names.pool("shared.alerts", "critical", "alert.device_offline"), body))).toEqual({
      pool: "shared.alerts",
      event: {
        id: "device/x:3:0",
        source: "device/sunri-pi1:device2",
        type: "alert.device_offline",
        timeMs: 5,
        priority: "critical",
        data: body.data,
        device: device2,
      },
    });
  });

  test.each(["troupe.pool.shared.alerts.urgent.x", "troupe.pool.critical.x", "troupe.pool.shared.alerts.low"])(
    "refuses the subject %s",
    (subject) => {
      expect(() => readPooled(stored(subject, {}))).toThrow(PayloadError);
    },
  );

  test("finds the lane in any pool's name", () => {
    for (const pool of ["own.qa-manager", "one", "a.b.c"])
      expect(readPooled(stored(names.pool(pool, "low", "t.u"), {}))).toMatchObject({
        pool,
        event: { type: "t.u", priority: "low" },
      });
  });
});

test.each([
  ["a.b", "a.b"],
  ["with space\nand line", "h/with%20space%0Aand%20line"],
  ["ü\ud800", "%EF%BF%BD"],
  ["50%", "50%25"],
])("poolRecord() names an event %j in a header that the server takes", (id, part) => {
  const event = { id, source: "h", type: "t", timeMs: 0, priority: "low" as const, data: null, device: null };
  const { messageId } = poolRecord({ event, pool: "shared.events" }, names);
  expect(decodeURIComponent(messageId)).toContain(decodeURIComponent(part));
  expect(messageId).toMatch(/^[!-~]+$/);
});

describe("readHeartbeat()", () => {
  const subject = names.deviceHeartbeat("sunri-pi1", "device2");
  const heard = (body: unknown, marker?: string, on = subject) =>
    readHeartbeat(
      { ...stored(on, body), header: (name) => (name === "Nats-Marker-Reason" ? marker : undefined) },
      names,
    );

  test("reads the facts that it knows, and presence from any body", () => {
    expect(heard({ model: "stb", name: "EOS", capabilities: { av: "hdmi_stream" }, more: 1 })).toEqual({
      place: device2,
      facts: { model: "stb", name: "EOS", capabilities: { av: "hdmi_stream" } },
    });
    for (const body of ["", "ping", "[]", { model: 7, name: "x".repeat(1_000), capabilities: "all" }])
      expect(heard(body)).toEqual({ place: device2, facts: {} });
  });

  test("reads the server's marker as silence", () => {
    expect(heard("", "MaxAge")).toEqual({ place: device2, facts: null });
  });

  test.each(["device.a:b.c.heartbeat", "device.a.b$.heartbeat", "other.a.b.heartbeat", "device.a.b.event"])(
    "knows no device on %s",
    (on) => {
      expect(heard({}, undefined, on)).toBeNull();
    },
  );
});
