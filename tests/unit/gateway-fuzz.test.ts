/** Random input at every route of the HTTP door. Invariant: never a 5xx, always a problem, and nothing behind it moves. */
import fc from "fast-check";
import type { InjectOptions } from "fastify";
import { beforeAll, describe, expect, test } from "vitest";
import { type Door, openDoor } from "../support/gateway.ts";

const RUNS = 150;
const PATHS = [
  "/api/actors/:p",
  "/api/actors/:p/:p",
  "/api/actors/:p/:p/history",
  "/api/tasks/:p",
  "/api/resources/:p",
  "/api/resources/:p/occupancy",
  "/api/reservations/:p",
  "/api/agents/:p",
];
const LISTS = ["/api/actors/device", "/api/tasks", "/api/resources", "/api/actors/device/a/history"];

/** What no kind and no id may be. Without "." and "..", which a client resolves before it sends. */
const bad = fc.oneof(
  fc.constantFrom(
    "*",
    ">",
    "a.b",
    "a b",
    " ",
    "a/b",
    "x".repeat(300),
    "é",
    "😀",
    "a\nb",
    "\u0000",
    "$KV",
    "%",
    "a\\b",
    '"',
    "__proto__.",
  ),
  fc.string({ unit: "binary", minLength: 1 }).filter((text) => !/^([A-Za-z0-9_:@=+~-]{1,128}|\.{1,2})$/.test(text)),
);
const wellFormed = (text: string): string => encodeURIComponent(text.toWellFormed());
const json = fc.json({ maxDepth: 4 });
const contentType = fc.oneof(
  fc.constantFrom(
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "application/yaml",
    "text/plain",
    "application/json; charset=utf-16",
    ";",
    "a/b",
    "application/octet-stream",
  ),
  fc.string({ unit: fc.constantFrom("a", "b", "/", ";", "=", "+", " ", ",", "."), maxLength: 12 }),
);

let door: Door;
beforeAll(async () => {
  door = await openDoor();
  door.far.add("device", "a", "x", {});
});

/** A refusal: 4xx, and nothing was asked of the far side. */
async function refused(request: InjectOptions): Promise<void> {
  door.far.calls.length = 0;
  const answer = await door.send(request);
  expect(answer.statusCode).toBeGreaterThanOrEqual(400);
  expect(answer.statusCode).toBeLessThan(500);
  expect(answer.json()).toMatchObject({
    status: answer.statusCode,
    code: expect.any(String),
    detail: expect.any(String),
  });
  expect(door.far.calls).toEqual([]);
}

describe("the HTTP door", () => {
  test.each(PATHS)("refuses bad parameters of %s", async (path) => {
    await fc.assert(
      fc.asyncProperty(bad, async (text) => {
        await refused({ url: path.replace(":p", wellFormed(text)).replace(":p", wellFormed(text)).replace(":p", "a") });
      }),
      { numRuns: RUNS },
    );
  });

  test.each(PATHS)("refuses empty and unescaped parameters of %s", async (path) => {
    for (const raw of ["", "%", "%00", "%2e%2e", "%ff", "*", "%2F", "a%20b", "x".repeat(5_000)]) {
      const answer = await door.send({ url: path.replaceAll(":p", raw) });
      expect([400, 404]).toContain(answer.statusCode);
    }
  });

  test.each(LISTS)("never fails on a random query of %s", async (path) => {
    const key = fc.oneof(
      fc.constantFrom("limit", "cursor", "state", "agent", "after"),
      fc.string({ unit: "binary", maxLength: 8 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(key, fc.string({ unit: "binary", maxLength: 300 }), { maxKeys: 3 }),
        async (query) => {
          const text = Object.entries(query)
            .map(([name, value]) => `${wellFormed(name)}=${wellFormed(value)}`)
            .join("&");
          const answer = await door.send({ url: `${path}?${text}` });
          expect(answer.statusCode).toBeLessThan(500);
        },
      ),
      { numRuns: RUNS },
    );
  });

  test.each(["/api/events", "/api/agents/register"])("refuses random bodies at %s", async (url) => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(json, fc.string({ unit: "binary" })), contentType, async (payload, type) => {
        await refusedBody(url, payload, type);
      }),
      { numRuns: 2 * RUNS },
    );
  });

  test("stores an event exactly when it answers 202", async () => {
    const field = <T>(good: fc.Arbitrary<T>) =>
      fc.oneof({ weight: 4, arbitrary: good }, { weight: 1, arbitrary: fc.jsonValue() });
    const event = fc.record(
      {
        type: field(fc.constantFrom("alert.freeze", "a", "a.b-c_d")),
        data: fc.jsonValue(),
        id: field(fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })),
        source: field(fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 })),
        priority: field(fc.constantFrom("critical", "low")),
        time: field(fc.constant("2026-01-01T00:00:00Z")),
        specversion: field(fc.constant("1.0")),
      },
      { requiredKeys: ["type", "data"] },
    );
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(event, fc.array(event, { maxLength: 3 })), async (payload) => {
        door.far.calls.length = 0;
        const answer = await door.send({
          method: "POST",
          url: "/api/events",
          headers: { "content-type": "application/json" },
          payload: JSON.stringify(payload),
        });
        expect([202, 400]).toContain(answer.statusCode);
        expect(door.far.calls).toHaveLength(answer.statusCode === 202 ? [payload].flat().length : 0);
        for (const call of door.far.calls)
          expect(call).toMatch(/^append troupe\.in\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$/);
        if (answer.statusCode === 202) taken++;
      }),
      { numRuns: 2 * RUNS },
    );
    expect(taken).toBeGreaterThan(0);
  });
});

async function refusedBody(url: string, payload: string, type: string): Promise<void> {
  // Random JSON is no event and no definition: it has none of their fields.
  await refused({ method: "POST", url, headers: { "content-type": type }, payload });
}
