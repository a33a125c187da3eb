/** Is the gateway up, and can it work. Invariant: ready means that NATS is connected and a node answered just now. */
import type { FastifyInstance } from "fastify";
import { TroupeError } from "../../runtime/errors.ts";
import type { GatewayDeps } from "../deps.ts";
import { GatewayError } from "../errors.ts";
import { within } from "../reads.ts";
import { answers, object, WHOLE } from "../schemas.ts";

/** A probe waits this long for nodes, in ms: under the usual time-outs of orchestrators' probes. */
const READY_DEADLINE_MS = 2_000;

export function healthRoutes(app: FastifyInstance, { client, clock }: GatewayDeps): void {
  app.get(
    "/health/live",
    {
      schema: {
        operationId: "live",
        tags: ["health"],
        summary: "The process answers",
        response: answers({ 200: ["It lives", object({ status: { const: "live" } })] }),
      },
    },
    async () => ({ status: "live" }),
  );

  app.get(
    "/health/ready",
    {
      schema: {
        operationId: "ready",
        tags: ["health"],
        summary: "NATS is connected and a node answers",
        response: answers({ 200: ["It can work", object({ status: { const: "ready" }, nodes: WHOLE })] }),
      },
    },
    async () => {
      if (client.broker.status !== "connected") {
        throw new GatewayError(
          "NOT_READY",
          `The connection to NATS is ${client.broker.status}: start the server, the gateway reconnects by itself`,
        );
      }
      const nodes = await within(clock, client.nodes({ states: ["alive"] }), READY_DEADLINE_MS).catch(
        (cause: unknown) => {
          if (!(cause instanceof TroupeError)) throw cause;
          throw new GatewayError("NOT_READY", `The nodes cannot be read: ${cause.message}`, {}, { cause });
        },
      );
      if (nodes.length === 0) {
        throw new GatewayError("NOT_READY", "No node is up: start one with `troupe node`");
      }
      return { status: "ready", nodes: nodes.length };
    },
  );
}
