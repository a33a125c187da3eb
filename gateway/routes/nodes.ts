/** The nodes of the cluster. Invariant: shows who answered just now, not who once registered. */
import type { FastifyInstance } from "fastify";
import type { GatewayDeps } from "../deps.ts";
import { READ_DEADLINE_MS, within } from "../reads.ts";
import { answers, listOf, object, TEXT, TIME, WHOLE } from "../schemas.ts";

const NODE = object({
  name: TEXT,
  incarnation: TEXT,
  pid: WHOLE,
  host: TEXT,
  version: TEXT,
  kinds: listOf(TEXT),
  labels: { type: "object", additionalProperties: TEXT },
  startedAtMs: TIME,
  shards: listOf(WHOLE),
  activations: WHOLE,
  queued: WHOLE,
  rounds: WHOLE,
  inputs: WHOLE,
  memoryBytes: WHOLE,
});

export function nodeRoutes(app: FastifyInstance, { client, clock }: GatewayDeps): void {
  app.get(
    "/api/nodes",
    {
      schema: {
        operationId: "listNodes",
        tags: ["nodes"],
        summary: "Nodes that answer, with their shards and load",
        response: answers({ 200: ["The nodes", object({ items: listOf(NODE) })] }),
      },
    },
    async () => ({ items: await within(clock, client.nodes(), READ_DEADLINE_MS) }),
  );
}
