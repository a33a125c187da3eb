/**
 * JSON Schema at the door. Invariant: only query strings, which know nothing but text, are coerced; nothing is removed
 * or filled in silently, and a message names the place, the value and what would fit.
 */
import { Ajv, type ErrorObject, type Options } from "ajv";
import type { FastifySchemaCompiler, FastifySchema } from "fastify";
import { type Fault, GatewayError, type GatewayCode } from "./errors.ts";

/** Longest piece of the caller's text that a message repeats, in characters. */
const QUOTE_MAX = 80;
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/;

function validator(options: Options): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    verbose: true,
    strictTypes: false,
    removeAdditional: false,
    allowMatchingProperties: true,
    ...options,
  });
  ajv.addFormat("date-time", (text: string) => RFC3339.test(text) && !Number.isNaN(new Date(text).getTime()));
  return ajv;
}

/** The schema compiler of one server. */
export function schemaCompiler(): FastifySchemaCompiler<FastifySchema> {
  const strict = validator({ coerceTypes: false });
  const query = validator({ coerceTypes: true, useDefaults: true });
  return ({ schema, httpPart }) => (httpPart === "querystring" ? query : strict).compile(schema);
}

const CODE_OF_PART: Readonly<Record<string, GatewayCode>> = {
  querystring: "BAD_QUERY",
  headers: "BAD_HEADER",
};

/** The error for what the schema compiler found in one part of the request. */
export function validationError(found: readonly ErrorObject[], part: string): GatewayError {
  const faults = found.filter((fault) => fault.keyword !== "if").map(faultOf);
  const first = faults[0]?.message ?? "The request does not fit its schema";
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : "";
  return new GatewayError(CODE_OF_PART[part] ?? "BAD_REQUEST", `${first}${more}`, { errors: faults });
}

function faultOf(error: ErrorObject): Fault {
  const path = error.instancePath === "" ? "/" : error.instancePath;
  return { path, message: `${path}: ${messageOf(error)}` };
}

function messageOf({ keyword, params, data, parentSchema, message }: ErrorObject): string {
  const hint: unknown = parentSchema?.["description"];
  switch (keyword) {
    case "additionalProperties":
      return `Unknown field ${quote(params["additionalProperty"])}: known are ${Object.keys((parentSchema?.["properties"] ?? {}) as object).join(", ")}`;
    case "required":
      return `Field ${quote(params["missingProperty"])} is missing`;
    case "enum":
      return `${quote(data)} is not one of ${(params["allowedValues"] as unknown[]).map(quote).join(", ")}`;
    case "pattern":
    case "format":
      return `${quote(data)} is not valid${typeof hint === "string" ? `: use ${hint}` : `, it ${message ?? ""}`}`;
    default:
      return `Value ${quote(data)} ${message ?? "does not fit"}`;
  }
}

function quote(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "[…]" : "{…}";
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > QUOTE_MAX ? `${text.slice(0, QUOTE_MAX)}…` : text;
}
