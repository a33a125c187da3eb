/**
 * Is the gateway up, and can it work. Invariant: ready and degraded mean that NATS is connected and a node
 * answered just now; every refusal names the part that is missing.
 */
import type { FastifyInstance } from "fastify";
import type { NodeInfo } from "../../runtime/api.ts";
import { TroupeError } from "../../runtime/errors.ts";
import type { GatewayDeps } from "../deps.ts";
import { type Degraded, GatewayError } from "../errors.ts";
import { within } from "../reads.ts";
import { answers, DEGRADED, object, WHOLE } from "../schemas.ts";

/** A probe waits this long for nodes, in ms: under the usual time-outs of orchestrators' probes. */
const READY_DEADLINE_MS = 2_000;

export function healthRoutes(app: FastifyInstance, deps: GatewayDeps): void {
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
        summary: "NATS is connected and a node answers; what is not well beside is named",
        response: answers({
          200: [
            "It can work; degraded: reads are answered, some writes are refused",
            object({ status: { enum: ["ready", "degraded"] }, nodes: WHOLE, degraded: DEGRADED }),
          ],
        }),
      },
    },
    async () => {
      const nodes = await aliveNodes(deps);
      const degraded = nodes
        .filter(({ refusal }) => refusal !== null)
        .map(({ name, refusal }) => ({
          part: "writes",
          detail: `Node "${name}" refuses messages: ${String(refusal)}`,
        }));
      return { status: degraded.length > 0 ? "degraded" : "ready", nodes: nodes.length, degraded };
    },
  );
}

/** @throws {GatewayError} NOT_READY, with the part that is missing. */
async function aliveNodes({ client, clock }: GatewayDeps): Promise<NodeInfo[]> {
  const { status } = client.broker;
  if (status !== "connected") {
    throw notReady("nats", `The connection to NATS is ${status}: start the server, the gateway reconnects by itself`);
  }
  const asked = client.nodes({ states: ["alive"] });
  const nodes = await within(clock, asked, READY_DEADLINE_MS).catch((cause: unknown) => {
    if (!(cause instanceof TroupeError)) throw cause;
    throw notReady("streams", `The nodes cannot be read: ${cause.message}`, { cause });
  });
  if (nodes.length === 0) throw notReady("nodes", "No node is up: start one with `troupe node`");
  return nodes;
}

const notReady = (part: Degraded["part"], detail: string, options?: ErrorOptions): GatewayError =>
  new GatewayError("NOT_READY", detail, { degraded: [{ part, detail }] }, options);
