/** The document of the HTTP door. Invariant: no route is left out of it, and no answer is without a schema. */
import { describe, expect, test } from "vitest";
import { openDoor } from "../support/gateway.ts";

const ROUTES = [
  "GET /health/live",
  "GET /health/ready",
  "POST /api/events",
  "GET /api/dead",
  "GET /api/dead/{seq}",
  "POST /api/dead/{seq}/retry",
  "POST /api/dead/{seq}/skip",
  "POST /api/actors/{kind}/{id}/resume",
  "GET /api/actors/{kind}",
  "GET /api/actors/{kind}/{id}",
  "GET /api/actors/{kind}/{id}/history",
  "GET /api/tasks",
  "GET /api/tasks/{id}",
  "GET /api/resources",
  "GET /api/resources/{id}",
  "GET /api/crews",
  "GET /api/crews/{id}",
  "GET /api/resources/{id}/occupancy",
  "GET /api/contention",
  "GET /api/reservations",
  "GET /api/reservations/{id}",
  "POST /api/reservations",
  "POST /api/reservations/{id}/{command}",
  "POST /api/resources/{id}/{command}",
  "GET /api/nodes",
  "GET /api/agents",
  "GET /api/agents/{id}",
  "POST /api/agents/register",
  "GET /openapi.json",
];

interface Document {
  readonly openapi: string;
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Record<
    string,
    Record<
      string,
      {
        operationId: string;
        summary: string;
        requestBody?: { content: object };
        responses: Record<string, { description: string; content: Record<string, { schema: object }> }>;
      }
    >
  >;
  readonly components: { readonly schemas: Record<string, object> };
}

describe("/openapi.json", () => {
  test("names every route once, and nothing else", async () => {
    const { send } = await openDoor();
    const document = (await send({ url: "/openapi.json" })).json<Document>();
    expect(document.openapi).toBe("3.1.0");
    const found = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(found.sort()).toEqual([...ROUTES].sort());
  });

  test("has a described schema for every answer and an operation id for every route", async () => {
    const { send } = await openDoor();
    const document = (await send({ url: "/openapi.json" })).json<Document>();
    const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
    for (const { summary, responses } of operations) {
      expect(summary).not.toBe("");
      expect(Object.keys(responses)).toEqual(expect.arrayContaining(["400", "500", "503"]));
      for (const { description, content } of Object.values(responses)) {
        expect(description).not.toBe("");
        for (const { schema } of Object.values(content)) expect(schema).toBeTypeOf("object");
      }
    }
  });

  test("refers to nothing that is not in it, and not to the caller's Host", async () => {
    const { send } = await openDoor();
    const { body, json } = await send({ url: "/openapi.json", headers: { host: "localhost:1" } });
    const document = json<Document>();
    for (const [, name] of body.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      expect(Object.keys(document.components.schemas)).toContain(name);
    expect(document.servers).toEqual([{ url: "/" }]);
    expect(body).not.toContain("localhost:1");
  });
});
