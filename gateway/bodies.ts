/**
 * Content types at the door. Invariant: a body reaches a handler only if its content type stands in the route's schema,
 * parsed, plain and validated.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { GatewayError } from "./errors.ts";
import { checkPlain } from "./json.ts";

/** Largest request body, in bytes: the runtime's largest message. */
export const BODY_LIMIT = 256 * 1_024;
/** Longest piece of the parser's message that is repeated, in characters: it quotes the body. */
const PARSER_MESSAGE_MAX = 160;

const JSON_TYPES = ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];
export const YAML_TYPES = ["application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"];

export function takeBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser("error", "error");
  app.addContentTypeParser(JSON_TYPES, { parseAs: "string" }, (request, text: string, done) => {
    // The parser reports through the callback; a throw of the check would escape it.
    void parse(request, text, (error: Error | null, body?: unknown) => {
      if (error !== null) return done(jsonFault(text, error));
      try {
        checkPlain(body);
      } catch (refusal) {
        return done(refusal as Error);
      }
      return done(null, body);
    });
  });
  app.addContentTypeParser(YAML_TYPES, { parseAs: "string" }, (_request, text, done) => done(null, text));
  // Before the body is read: the parser's own refusal would not say what is taken here.
  app.addHook("onRequest", async (request) => requireKnownType(request));
}

/** What is wrong with a text that is not taken as JSON, and where. */
function jsonFault(text: string, cause: Error): GatewayError {
  const refuse = (message: string) => new GatewayError("BAD_REQUEST", message, {}, { cause });
  if (text.trim() === "") return refuse("The body is empty: send JSON");
  try {
    JSON.parse(text);
  } catch (error) {
    const what = error instanceof Error ? error.message.replaceAll(/\s+/g, " ").slice(0, PARSER_MESSAGE_MAX) : "";
    return refuse(`The body is not JSON (${what}): correct it there`);
  }
  return refuse('The body has a key "__proto__" or "constructor" that reaches into prototypes: rename it');
}

function requireKnownType(request: FastifyRequest): void {
  const known = (request.routeOptions.schema?.body as { content?: object } | undefined)?.content;
  if (known === undefined || Object.hasOwn(known, request.mediaType ?? "")) return;
  throw new GatewayError(
    "UNSUPPORTED_MEDIA_TYPE",
    `The content type ${JSON.stringify(request.headers["content-type"] ?? null)} is not taken here: send ${Object.keys(known).join(", ")}`,
  );
}
