/**
 * Commands to locks. Invariant: a lock's refusal is a problem with its code, 200 means that the lock has
 * committed what it answers, and nothing is locked that nobody ever heard of.
 */
import type { FastifyInstance } from "fastify";
import { untilCallerLeaves } from "../caller.ts";
import type { GatewayDeps } from "../deps.ts";
import { GATEWAY_CODES, type GatewayCode, GatewayError } from "../errors.ts";
import { text } from "../fields.ts";
import { isObject, type JsonObject } from "../json.ts";
import { checkKnown } from "../known-resource.ts";
import { READ_DEADLINE_MS } from "../reads.ts";
import { answers, ID, object, type Schema, TEXT, WHOLE } from "../schemas.ts";

const COMMANDS = [
  ...["acquire", "renew", "release", "cancel", "yield", "askRelease", "answerRelease"],
  ...["bump", "takeover", "maintain", "configure"],
];
export const HOLDER: Schema = { ...TEXT, description: "client/<name>" };
const FIELDS: Readonly<Record<string, Schema>> = {
  holder: HOLDER,
  priority: { ...TEXT, description: "critical, high, normal or low" },
  ttlMs: WHOLE,
  permits: WHOLE,
  token: WHOLE,
  byMs: WHOLE,
  accept: { type: "boolean" },
  waiter: TEXT,
  by: { ...HOLDER, description: "the operator: client/<name>" },
  why: TEXT,
  on: { type: "boolean" },
  capacity: WHOLE,
  policy: { ...TEXT, description: "wait, abort or takeover" },
  graceMs: WHOLE,
};
const COMMAND_BODY = object(FIELDS, Object.keys(FIELDS));
export const REPLY: Schema = {
  type: "object",
  required: ["ok"],
  properties: { ok: { const: true } },
  additionalProperties: true,
};

/** What a lock or reservation answered; its refusal as an error. */
export function accepted(reply: unknown): JsonObject {
  const answer = isObject(reply) ? reply : {};
  if (answer["ok"] === true) return answer;
  const code = GATEWAY_CODES.find((known) => known === answer["code"]) ?? ("INTERNAL" satisfies GatewayCode);
  throw new GatewayError(code, text(answer["message"]) ?? "The lock gave no reason");
}

export function lockCommandRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  app.post<{ Params: { id: string; command: string }; Body: JsonObject }>(
    "/api/resources/:id/:command",
    {
      schema: {
        operationId: "commandResource",
        tags: ["resources"],
        summary: "One command to a lock; which fields it needs, its refusal says",
        params: object({ id: ID, command: { enum: COMMANDS } }),
        body: COMMAND_BODY,
        response: answers({ 200: ["What the lock answered", REPLY] }, [404, 409, 413, 415, 422]),
      },
    },
    async ({ params: { id, command }, body }, reply) => {
      const signal = untilCallerLeaves(reply);
      const event = { ...body, type: command };
      await checkKnown(deps.client, id, event, { signal });
      return accepted(await deps.client.ask("resource", id, event, { deadlineMs: READ_DEADLINE_MS, signal }));
    },
  );
}
