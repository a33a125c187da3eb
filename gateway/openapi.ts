/** The OpenAPI document. Invariant: it is made from the schemas that the routes enforce; nothing is described twice. */
import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import { answers } from "./schemas.ts";

/** Registers before the routes, so that it sees them. */
export async function describeRoutes(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Troupe gateway",
        description: "Durable actors, agents and devices over HTTP. Every refusal is a problem of RFC 9457.",
        version,
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      // Relative: the Host header is the caller's word.
      servers: [{ url: "/" }],
      tags: [
        { name: "health", description: "Is it up" },
        { name: "events", description: "Events into the system" },
        { name: "actors", description: "Any actor: state and history" },
        { name: "dead", description: "Messages that no actor could take, and what is done about them" },
        { name: "tasks", description: "Pieces of agent work" },
        { name: "resources", description: "Locks on devices" },
        { name: "crews", description: "Work, who does it, and who could" },
        { name: "nodes", description: "The cluster" },
        { name: "agents", description: "Agent definitions and their live state" },
      ],
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) =>
        typeof json["$id"] === "string" ? json["$id"] : `def-${index}`,
    },
  });
}

export function serveOpenApi(app: FastifyInstance): void {
  app.get(
    "/openapi.json",
    {
      schema: {
        operationId: "openapi",
        tags: ["health"],
        summary: "This document",
        response: answers({ 200: ["OpenAPI 3.1", { type: "object", additionalProperties: true }] }),
      },
    },
    async () => app.swagger(),
  );
}
