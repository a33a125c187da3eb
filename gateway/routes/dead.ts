/** Dead letters and what operators do about them. Invariant: a letter is seen to once, and whoever does it says who and why. */
import type { FastifyInstance } from "fastify";
import type { Audit, RetryOptions } from "../../runtime/api.ts";
import { MAX_BY_LENGTH, MAX_WHY_LENGTH } from "../../runtime/limits.ts";
import type { GatewayDeps } from "../deps.ts";
import { READ_DEADLINE_MS, within } from "../reads.ts";
import { ANYTHING, answers, ID, KIND, listOf, object, type Schema, TEXT, TIME, WHOLE } from "../schemas.ts";
import type { ActorParams } from "./actors.ts";

const MARK = object({
  verb: { enum: ["retried", "skipped"] },
  by: TEXT,
  why: TEXT,
  timeMs: TIME,
  isEdited: { type: "boolean", description: "the event was changed before it was tried again" },
  outcome: {
    enum: ["applied", "poison", "dropped"],
    description: "poison: it failed again and lies here as a new letter",
  },
});
const LETTER = object(
  {
    seq: { ...WHOLE, description: "its number" },
    reason: { ...TEXT, description: "poison, refused, malformed or misaddressed" },
    kind: TEXT,
    id: TEXT,
    cause: TEXT,
    timeMs: TIME,
    sender: TEXT,
    event: ANYTHING,
    revision: { ...WHOLE, description: "of the poison input: a quarantine names <kind>/<id>@<revision>" },
    state: { ...ANYTHING, description: "what supervision replaced; only of one letter" },
    mark: { ...MARK, description: "set once somebody has seen to it" },
  },
  ["event", "revision", "state", "mark"],
);
const ONE = object({ seq: { type: "string", pattern: "^[1-9][0-9]{0,14}$", description: "number of the letter" } });
const text = (maxLength: number): Schema => ({ type: "string", minLength: 1, maxLength, pattern: "\\S" });
const WHO_AND_WHY = { by: text(MAX_BY_LENGTH), why: text(MAX_WHY_LENGTH) };
const EVENT: Schema = {
  type: "object",
  required: ["type"],
  properties: { type: { type: "string", minLength: 1 } },
  additionalProperties: true,
  description: "instead of the letter's own event",
};
const json = (schema: Schema) => ({ content: { "application/json": { schema } } });
/** Letters of one answer: enough for a screen, and few enough to read them all. */
const LIST = object({ limit: { type: "integer", minimum: 1, maximum: 1_000, default: 100 } }, ["limit"]);

interface LetterParams {
  readonly seq: string;
}

export function deadRoutes(app: FastifyInstance, deps: GatewayDeps): void {
  readRoutes(app, deps);
  commandRoutes(app, deps);
}

function readRoutes(app: FastifyInstance, { client, clock }: GatewayDeps): void {
  app.get<{ Querystring: { limit: number } }>(
    "/api/dead",
    {
      schema: {
        operationId: "listDeadLetters",
        tags: ["dead"],
        summary: "The last dead letters, oldest first",
        querystring: LIST,
        response: answers({ 200: ["Dead letters", object({ items: listOf(LETTER) })] }),
      },
    },
    async ({ query }) => ({ items: await within(clock, client.deadLetters({ limit: query.limit }), READ_DEADLINE_MS) }),
  );

  app.get<{ Params: LetterParams }>(
    "/api/dead/:seq",
    {
      schema: {
        operationId: "readDeadLetter",
        tags: ["dead"],
        summary: "One dead letter, with the state that supervision replaced",
        params: ONE,
        response: answers({ 200: ["The letter", LETTER] }, [404]),
      },
    },
    async ({ params }) => await within(clock, client.deadLetter(Number(params.seq)), READ_DEADLINE_MS),
  );
}

function commandRoutes(app: FastifyInstance, { client }: GatewayDeps): void {
  app.post<{ Params: LetterParams; Body: RetryOptions }>(
    "/api/dead/:seq/retry",
    {
      schema: {
        operationId: "retryDeadLetter",
        tags: ["dead"],
        summary: "Hand a dead letter's event, or another one, to its actor again, once",
        description: "The actor takes it as from its first sender; if it is quarantined for this letter, it goes on.",
        params: ONE,
        body: json(object({ ...WHO_AND_WHY, event: EVENT }, ["event"])),
        response: answers({ 200: ["The actor's reply", object({ reply: ANYTHING })] }, [404, 409, 413, 415, 422]),
      },
    },
    async ({ params, body }) => ({ reply: (await client.retryDeadLetter(Number(params.seq), body)) ?? null }),
  );

  app.post<{ Params: LetterParams; Body: Audit }>(
    "/api/dead/:seq/skip",
    {
      schema: {
        operationId: "skipDeadLetter",
        tags: ["dead"],
        summary: "See to a dead letter by doing nothing; an actor that is quarantined for it goes on",
        params: ONE,
        body: json(object(WHO_AND_WHY)),
        response: answers({ 200: ["Skipped", object({ skipped: WHOLE })] }, [404, 409, 413, 415]),
      },
    },
    async ({ params, body }) => {
      const skipped = Number(params.seq);
      await client.skipDeadLetter(skipped, body);
      return { skipped };
    },
  );

  app.post<{ Params: ActorParams; Body: Audit }>(
    "/api/actors/:kind/:id/resume",
    {
      schema: {
        operationId: "resumeActor",
        tags: ["actors"],
        summary: "Let an actor go on that was quarantined, stopped or failed over",
        params: object({ kind: KIND, id: ID }),
        body: json(object(WHO_AND_WHY)),
        response: answers({ 200: ["Its state", object({ state: ANYTHING })] }, [404, 409, 413, 415, 422]),
      },
    },
    async ({ params, body }) => ({ state: (await client.resume(params.kind, params.id, body)) ?? null }),
  );
}
