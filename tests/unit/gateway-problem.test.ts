/** Refusals of the HTTP door. Invariant: every code has its status, and a fault of ours says nothing of the inside. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import * as agentErrors from "../../agents/errors.ts";
import { GATEWAY_CODES } from "../../gateway/errors.ts";
import { PROBLEMS } from "../../gateway/problem.ts";
import * as errors from "../../runtime/errors.ts";
import { openDoor } from "../support/gateway.ts";

type ErrorClass = new (...args: unknown[]) => errors.TroupeError;
const classesOf = (module: object): ErrorClass[] =>
  Object.values(module).filter((value) => typeof value === "function" && value.prototype instanceof errors.TroupeError);
const CODES = [...classesOf(errors), ...classesOf(agentErrors)]
  .filter((Class) => (Class as unknown) !== errors.RemoteError)
  .map((Class) => new Class([], []).code);

let opened: FastifyInstance | undefined;
afterEach(async () => {
  await opened?.close();
  opened = undefined;
});

/** Sends bytes as they are, and what came back until the server closed. */
const speak = (port: number, bytes: string, cut = false): Promise<string> =>
  new Promise<string>((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => void (cut ? socket.end(bytes) : socket.write(bytes)));
    socket
      .on("data", (chunk) => (text += chunk.toString()))
      .on("close", () => resolve(text))
      .on("error", reject);
  });

describe("problemOf()", () => {
  test("knows every code of the system, and no other", () => {
    expect(Object.keys(PROBLEMS).sort()).toEqual([...new Set([...CODES, ...GATEWAY_CODES])].sort());
  });

  test.each(classesOf(errors).map((Class) => [Class.name, Class] as const))(
    "gives %s its status",
    async (_name, Class) => {
      const { app, far } = await openDoor();
      const error = new Class("a", ["b"]);
      far.faults.set("desk", () => error);
      // Past the check of forms: no desk throws each of them.
      const answer = await app.inject({ url: "/api/agents/a" });
      const line = PROBLEMS[error.code] ?? { status: 502 };
      expect(answer.statusCode).toBe(line.status);
      expect(answer.json()).toMatchObject({ code: error.code, status: line.status, instance: "/api/agents/a" });
      expect(answer.headers["retry-after"] === undefined).toBe(line.status !== 503 && line.status !== 504);
    },
  );

  test("says nothing of the inside when the fault is ours", async () => {
    const { send, far } = await openDoor();
    far.faults.set("query", () => new TypeError("secret at line 7"));
    const answer = await send({ url: "/api/actors/device/a" });
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain("secret");
    expect(answer.json<{ detail: string }>().detail).toContain(String(answer.headers["x-request-id"]));
  });
});

describe("the server", () => {
  test.each([
    ["GET", "/", 404, "NOT_FOUND"],
    ["GET", "/api", 404, "NOT_FOUND"],
    ["GET", "/%ZZ", 400, "BAD_REQUEST"],
    ["DELETE", "/api/tasks/a", 405, "METHOD_NOT_ALLOWED"],
    ["OPTIONS", "/api/events", 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/api/events", 405, "METHOD_NOT_ALLOWED"],
    ["GET", "/api/tasks?limit=0", 400, "BAD_QUERY"],
    ["GET", "/api/tasks?limit=x", 400, "BAD_QUERY"],
    ["GET", "/api/tasks?stat=running", 400, "BAD_QUERY"],
    ["GET", "/api/tasks?state=running&state=failed", 400, "BAD_QUERY"],
  ] as const)("answers %s %s with %i", async (method, url, status, code) => {
    const { send, far } = await openDoor();
    const answer = await send({ method, url });
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([status, code]);
    expect(answer.headers["x-content-type-options"]).toBe("nosniff");
    if (status === 405) expect(answer.headers["allow"]).toBeTypeOf("string");
    expect(far.calls).toEqual([]);
  });

  const json = "application/json";
  test.each([
    ["POST", "/api/events", "text/plain", "x", 415, "send application/json, application/cloudevents+json"],
    ["POST", "/api/agents/register", "text/plain", "x", 415, "send application/yaml"],
    ["POST", "/api/events", json, "", 400, "The body is empty: send JSON"],
    ["POST", "/api/events", json, '{\n"type" 1}', 400, "(line 2 column 8)"],
    ["POST", "/api/events", json, '{"a":{"__proto__":1}}', 400, "rename it"],
    ["POST", "/api/events", json, `"${"x".repeat(300_000)}"`, 413, "262144 bytes: send less"],
    ["PUT", "/api/events", json, "{}", 405, "use POST"],
    ["GET", "/api/nothing", json, undefined, 404, "/openapi.json"],
    ["GET", "/api/tasks/%zz", json, undefined, 400, "encode the % sign as %25"],
    ["GET", `/api/tasks/${"a".repeat(2_000)}`, json, undefined, 400, "longer than any id"],
  ] as const)("names the way out of %s %.20s as %s with %.20j", async (method, url, type, payload, status, wayOut) => {
    const { send, far } = await openDoor();
    const body = payload === undefined ? {} : { payload };
    const answer = await send({ method, url, headers: { "content-type": type }, ...body });
    const problem = answer.json<{ status: number; detail: string; instance: string }>();
    expect([answer.statusCode, problem.status]).toEqual([status, status]);
    expect(problem.detail).toContain(wayOut);
    expect(url.startsWith(problem.instance)).toBe(true);
    expect(far.calls).toEqual([]);
  });

  test("allows no other origin", async () => {
    const { send } = await openDoor();
    const answer = await send({ url: "/health/live", headers: { origin: "https://elsewhere.example" } });
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  });

  test.each([
    ["rebound.example", 421],
    ["rebound.example:8080", 421],
    ["127.0.0.1.example", 421],
    ["localhost:8080", 200],
    ["[::1]:8080", 200],
    ["LOCALHOST", 200],
    ["lab.example", 200],
  ] as const)("answers the Host %j with %i on loopback", async (host, status) => {
    const { send } = await openDoor({ hostNames: ["lab.example"] });
    expect((await send({ url: "/health/live", headers: { host } })).statusCode).toBe(status);
  });

  test("takes any Host when it was told to listen on all addresses", async () => {
    const { send } = await openDoor({ host: "0.0.0.0" });
    expect((await send({ url: "/health/live", headers: { host: "gateway:8080" } })).statusCode).toBe(200);
  });

  test.each([
    ["GARBAGE\r\n\r\n", 400],
    [`GET / HTTP/1.1\r\nHost: localhost\r\nx: ${"a".repeat(100_000)}\r\n\r\n`, 431],
    ["GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 421],
  ])("answers what is no request with a problem (%#)", async (bytes, status) => {
    const { app } = await openDoor();
    opened = app;
    await app.listen({ host: "127.0.0.1", port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const answer = await speak(port, bytes);
    expect(answer).toContain(`HTTP/1.1 ${status} `);
    expect(answer).toMatch(/content-type: application\/problem\+json/i);
  });

  test("tells a sender whose body ends early that it was cut off", async () => {
    const { app, far } = await openDoor();
    opened = app;
    await app.listen({ host: "127.0.0.1", port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const head = "POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    const answer = await speak(port, `${head}Content-Length: 100\r\n\r\n{"type":`, true);
    expect(answer).toContain("ended before its body was complete: send it again");
    expect(far.calls).toEqual([]);
  });

  test.each(["/api/tasks/.", "/api/tasks/..", "/api/actors/./history", "/api/tasks/\u00e9", "//", "/api//tasks"])(
    "refuses the raw path %j",
    async (path) => {
      const { app, far } = await openDoor();
      opened = app;
      await app.listen({ host: "127.0.0.1", port: 0 });
      const { port } = app.server.address() as AddressInfo;
      const answer = await speak(port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1.1 40[04] /);
      expect(answer).toContain("application/problem+json");
      expect(far.calls).toEqual([]);
    },
  );

  test("close() takes no more, and answers what is in flight", async () => {
    const { app, far } = await openDoor();
    far.add("device", "a", "x", {});
    const gate = Promise.withResolvers<void>();
    far.held = gate.promise;
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    const inFlight = fetch(`${url}/api/actors/device/a`);
    await vi.waitFor(() => expect(far.calls).toEqual(["query device/a"]));
    const closed = app.close();
    await expect(fetch(`${url}/health/live`)).rejects.toThrow(TypeError);
    gate.resolve();
    expect((await inFlight).status).toBe(200);
    await closed;
  });
});
