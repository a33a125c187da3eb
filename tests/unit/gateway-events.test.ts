/** Events through the HTTP door. Invariant: 202 is what is stored; what is refused stores nothing. */
import { describe, expect, test } from "vitest";
import { BrokerUnavailableError, StreamFullError } from "../../runtime/errors.ts";
import { EVENT_LIMIT_BYTES, readIngress } from "../../actors/event-reader.ts";
import { BATCH_LIMIT } from "../../gateway/cloud-event.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { openDoor } from "../support/gateway.ts";

const url = "/api/events";
const post = (payload: unknown, headers: Record<string, string> = {}) => ({
  method: "POST" as const,
  url,
  headers: { "content-type": "application/json", ...headers },
  payload: JSON.stringify(payload),
});
const CLOUD = { specversion: "1.0", id: "e1", source: "/ci/jenkins", type: "ci.failed", data: { job: 7 } };
const structured = { "content-type": "application/cloudevents+json" };
const batched = { "content-type": "application/cloudevents-batch+json" };

describe("POST /api/events", () => {
  test("stores a bare event as a CloudEvent with an id of its own", async () => {
    const { send, far } = await openDoor();
    const answer = await send(
      post({ type: "alert.blackscreen", data: { host_name: "h1", device_id: "d1" }, priority: "high" }),
    );
    expect(answer.statusCode).toBe(202);
    const { id, seq } = answer.json<{ id: string; seq: number }>();
    expect(seq).toBe(1);
    expect(id).toMatch(/^[0-9a-f]{24}$/);
    expect(far.appended).toEqual([
      {
        subject: "troupe.in.http.alert.blackscreen",
        messageId: `http/${id}`,
        body: {
          specversion: "1.0",
          id,
          source: "http",
          type: "alert.blackscreen",
          priority: "high",
          data: { host_name: "h1", device_id: "d1" },
        },
      },
    ]);
  });

  test("takes the id of an alert record that carries its own", async () => {
    const { send } = await openDoor();
    expect((await send(post({ type: "alert.freeze", data: { id: "d9554265" } }))).json()).toEqual({
      id: "d9554265",
      seq: 1,
    });
  });

  test("takes structured CloudEvents with extensions as they are, the time in UTC", async () => {
    const { send, far } = await openDoor();
    const event = {
      ...CLOUD,
      time: "2026-11-21T13:00:00+01:00",
      traceparent: "00-ab",
      anattributewithaverylongname: 5,
      datacontenttype: "application/json",
    };
    expect((await send(post(event, structured))).json()).toEqual({ id: "e1", seq: 1 });
    expect(far.appended[0]).toEqual({
      subject: "troupe.in.ci_jenkins.ci.failed",
      messageId: "%2Fci%2Fjenkins/e1",
      body: { ...event, time: "2026-11-21T12:00:00.000Z" },
    });
  });

  test("takes bytes in base64, which actors read as JSON or beside their type", async () => {
    const { send, far } = await openDoor();
    const { data: _, ...bare } = CLOUD;
    const json = { ...bare, data_base64: Buffer.from('{"job":7}').toString("base64") };
    const image = { ...bare, id: "e2", datacontenttype: "image/png", data_base64: "AA==" };
    expect((await send(post([json, image], batched))).statusCode).toBe(202);
    const read = far.appended.map(({ subject, body }) =>
      readIngress({ subject, seq: 1, timeMs: 0, data: Buffer.from(JSON.stringify(body)) }, makeNames()),
    );
    expect(read.map(({ event }) => event.data)).toEqual([
      { job: 7 },
      { datacontenttype: "image/png", data_base64: "AA==" },
    ]);
  });

  test.each([
    ["bytes beside data", { ...CLOUD, data_base64: "AA==" }, "send one of them"],
    [
      "bytes that are not the JSON they should be",
      { ...CLOUD, data: undefined, data_base64: "AA==" },
      "datacontenttype",
    ],
    ["bytes that are no base64", { ...CLOUD, data: undefined, data_base64: "?" }, "RFC 4648"],
  ])("refuses %s, before anything is stored", async (_what, event, wayOut) => {
    const { send, far } = await openDoor();
    const answer = await send(post(event, structured));
    expect(answer.statusCode).toBe(400);
    expect(answer.json<{ detail: string }>().detail).toContain(wayOut);
    expect(far.calls).toEqual([]);
  });

  test("an event of any size that is taken is one that the nodes read", async () => {
    const { send, far } = await openDoor();
    for (const size of [EVENT_LIMIT_BYTES - 2_000, EVENT_LIMIT_BYTES - 100, EVENT_LIMIT_BYTES + 100])
      await send(post({ type: "t", data: "x".repeat(size) }));
    for (const { subject, body } of far.appended)
      readIngress({ subject, seq: 1, timeMs: 0, data: Buffer.from(JSON.stringify(body)) }, makeNames());
    expect(far.appended.length).toBeGreaterThan(0);
  });

  test("takes binary mode from its headers", async () => {
    const { send, far } = await openDoor();
    const headers = {
      "ce-specversion": "1.0",
      "ce-id": "a%20b",
      "ce-source": "s",
      "ce-type": "x.y",
      "ce-priority": "low",
    };
    expect((await send(post([1, 2], headers))).statusCode).toBe(202);
    expect(far.appended[0]?.body).toEqual({
      specversion: "1.0",
      id: "a b",
      source: "s",
      type: "x.y",
      priority: "low",
      data: [1, 2],
    });
  });

  test.each([
    ["no specversion", { "ce-id": "1", "ce-source": "s", "ce-type": "t" }],
    ["no type", { "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s" }],
    [
      "a value that is not percent-encoded",
      { "ce-specversion": "1.0", "ce-id": "%", "ce-source": "s", "ce-type": "t" },
    ],
  ])("refuses binary mode with %s", async (_what, headers) => {
    const { send, far } = await openDoor();
    expect((await send(post({ type: "t", data: 1 }, headers))).statusCode).toBe(400);
    expect(far.calls).toEqual([]);
  });

  test("stores a batch in its order, and answers each", async () => {
    const { send, far } = await openDoor();
    const batch = [
      { ...CLOUD, id: "1" },
      { ...CLOUD, id: "2" },
    ];
    expect((await send(post(batch, batched))).json()).toEqual({
      items: [
        { id: "1", seq: 1 },
        { id: "2", seq: 2 },
      ],
    });
    expect((await send(post([...batch, { type: "t", data: null, id: "3" }]))).json()).toEqual({
      items: [
        { id: "1", seq: 1 },
        { id: "2", seq: 2 },
        { id: "3", seq: 3 },
      ],
    });
    expect(far.appended).toHaveLength(3);
  });

  test("answers a repeat of (source, id) as the first time, and keeps other sources apart", async () => {
    const { send, far } = await openDoor();
    const ab = (source: string, id: string) => send(post({ type: "t", data: 1, source, id }));
    expect((await ab("a", "b/c")).json()).toEqual({ id: "b/c", seq: 1 });
    expect((await ab("a", "b/c")).json()).toEqual({ id: "b/c", seq: 1 });
    expect((await ab("a/b", "c")).json()).toEqual({ id: "c", seq: 2 });
    expect(far.appended).toHaveLength(2);
  });

  test("refuses a whole batch for one bad event, and names the place", async () => {
    const { send, far } = await openDoor();
    const answer = await send(
      post([
        { type: "t", data: 1 },
        { type: "a..b", data: 1, extra: 1 },
      ]),
    );
    expect(answer.statusCode).toBe(400);
    const { errors } = answer.json<{ errors: { path: string; message: string }[] }>();
    expect(errors.map(({ path }) => path).sort()).toEqual(["/1", "/1/type"]);
    expect(errors.map(({ message }) => message).join()).toContain('Unknown field "extra": known are type, data');
    expect(far.calls).toEqual([]);
  });

  test.each([
    ["no data", { type: "t" }],
    ["no type", { data: 1 }],
    ["a wildcard in the type", { type: "a.*", data: 1 }],
    ["a space in the type", { type: "a b", data: 1 }],
    ["an empty id", { type: "t", data: 1, id: "" }],
    ["a control character in the id", { type: "t", data: 1, id: "a\nb" }],
    ["half a character in the id", { type: "t", data: 1, id: "\ud800" }],
    ["an unknown priority", { type: "t", data: 1, priority: "urgent" }],
    ["a time without a zone", { type: "t", data: 1, time: "2026-11-21T12:00:00" }],
    ["a day that is none", { type: "t", data: 1, time: "2026-13-41T12:00:00Z" }],
    ["a number as type", { type: 7, data: 1 }],
    ["another specversion", { ...CLOUD, specversion: "0.3" }],
    ["an extension that is an object", { ...CLOUD, more: {} }],
    ["a content type that is none", { ...CLOUD, datacontenttype: "png" }],
    ["an extension with a capital", { ...CLOUD, traceParent: "x" }],
    ["an empty batch", []],
    ["null", null],
    ["a batch in a batch", [[{ type: "t", data: 1 }]]],
  ])("refuses %s", async (_what, payload) => {
    const { send, far } = await openDoor();
    const answer = await send(post(payload));
    expect(answer.statusCode).toBe(400);
    expect(answer.json<{ code: string }>().code).toBe("BAD_REQUEST");
    expect(far.calls).toEqual([]);
  });

  test.each([
    ["malformed JSON", '{"type":', 400],
    ["an empty body", "", 400],
    ["a key that reaches into prototypes", '{"type":"t","data":{"__proto__":{"a":1}}}', 400],
    ["a number beyond range", '{"type":"t","data":1e999}', 400],
    ["100,000 levels", `{"type":"t","data":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, 400],
    ["a body over the limit", JSON.stringify({ type: "t", data: "x".repeat(300_000) }), 413],
    ["an event over the limit", JSON.stringify({ type: "t", data: "x".repeat(EVENT_LIMIT_BYTES) }), 413],
    ["a batch over the limit", JSON.stringify(Array(BATCH_LIMIT + 1).fill({ type: "t", data: 1 })), 413],
  ])("refuses %s", async (_what, payload, status) => {
    const { send, far } = await openDoor();
    const answer = await send({ method: "POST", url, headers: { "content-type": "application/json" }, payload });
    expect(answer.statusCode).toBe(status);
    expect(far.calls).toEqual([]);
  });

  test.each(["text/plain", "application/yaml", "application/xml", "multipart/form-data; boundary=x", ""])(
    "refuses content type %j",
    async (type) => {
      const { send, far } = await openDoor();
      const headers = type === "" ? {} : { "content-type": type };
      expect((await send({ method: "POST", url, headers, payload: '{"type":"t","data":1}' })).statusCode).toBe(415);
      expect(far.calls).toEqual([]);
    },
  );

  test("says 503 with a pause while the stream is full", async () => {
    const { send, far } = await openDoor();
    far.faults.set("append", () => new StreamFullError("The stream is full"));
    const answer = await send(post({ type: "t", data: 1 }));
    expect(answer.statusCode).toBe(503);
    expect(answer.headers["retry-after"]).toBe("1");
  });

  test("repeats an append whose outcome is unknown under the same id", async () => {
    const { send, far } = await openDoor();
    far.faults.set("append", () => {
      far.faults.clear();
      return new BrokerUnavailableError("No acknowledgement");
    });
    expect((await send(post({ type: "t", data: 1, id: "x" }))).json()).toEqual({ id: "x", seq: 1 });
    expect(far.calls).toEqual(["append troupe.in.http.t", "append troupe.in.http.t"]);
  });

  test("names what is stored of a batch that ends early", async () => {
    const { send, far } = await openDoor();
    far.faults.set("append troupe.in.http.b", () => new StreamFullError("The stream is full"));
    const answer = await send(
      post([
        { type: "a", data: 1, id: "1" },
        { type: "b", data: 1, id: "2" },
      ]),
    );
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toMatchObject({ code: "STREAM_FULL", stored: [{ id: "1", seq: 1 }] });
  });
});
