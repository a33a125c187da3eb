/**
 * Events as callers send them, and as the ingress stream keeps them. Invariant: what leaves {@link storable} is one
 * CloudEvents 1.0 JSON object with an id, whose type and source stand in a subject as plain tokens.
 */
import { cloudData } from "../actors/cloud-data.ts";
import { EVENT_LIMIT_BYTES } from "../actors/event-reader.ts";
import type { Clock } from "../runtime/clock.ts";
import { PRIORITIES, type Priority } from "../runtime/priority.ts";
import { GatewayError } from "./errors.ts";
import { isObject } from "./json.ts";
import { ANYTHING, object, type Schema } from "./schemas.ts";

/** Events in one request at most: all of them are stored before the answer. */
export const BATCH_LIMIT = 100;
/** Longest source and id, in characters: both stand in the header that the server recognises repeats by. */
const NAME_MAX = 256;
/** Longest type, in characters: it stands in subjects. */
const TYPE_MAX = 128;
/** Longest source in a subject, in characters. The whole source is in the event. */
const SOURCE_TOKEN_MAX = 64;
/** Longest name of an extension attribute, in characters: the standard advises 20 and does not forbid more. */
const EXTENSION_MAX = 64;
const SOURCE_DEFAULT = "http";
const ID_BYTES = 12;

const NAME: Schema = {
  type: "string",
  pattern: `^[^\\p{Cc}\\p{Cs}]{1,${NAME_MAX}}$`,
  description: `1 to ${NAME_MAX} printable characters`,
};
const TYPE: Schema = {
  type: "string",
  maxLength: TYPE_MAX,
  pattern: "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$",
  description: "words of A-Z a-z 0-9 _ - joined by single dots, as in alert.blackscreen",
};
const WHEN: Schema = { type: "string", format: "date-time", description: "RFC 3339, as in 2026-11-21T12:00:00Z" };
const PRIORITY: Schema = { enum: PRIORITIES };

const BARE: Schema = object({ type: TYPE, data: ANYTHING, source: NAME, id: NAME, priority: PRIORITY, time: WHEN }, [
  "source",
  "id",
  "priority",
  "time",
]);
export const CLOUD_EVENT: Schema = {
  ...object(
    {
      specversion: { const: "1.0" },
      id: NAME,
      source: NAME,
      type: TYPE,
      time: WHEN,
      subject: NAME,
      dataschema: NAME,
      datacontenttype: {
        type: "string",
        pattern: "^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *;.*)?$",
        description: "a media type, as in application/json",
      },
      priority: PRIORITY,
      data: ANYTHING,
      data_base64: {
        type: "string",
        description: "bytes in base64; actors get JSON as data, and others as { datacontenttype, data_base64 }",
      },
    },
    ["time", "subject", "dataschema", "datacontenttype", "priority", "data", "data_base64"],
  ),
  // CloudEvents' extension attributes: lower-case names, plain values. The stored event keeps them.
  patternProperties: { [`^(?!data$)[a-z0-9]{1,${EXTENSION_MAX}}$`]: { type: ["string", "number", "boolean"] } },
};
export const CLOUD_BATCH: Schema = { type: "array", minItems: 1, maxItems: BATCH_LIMIT, items: CLOUD_EVENT };
const EVENT = choose({ type: "object", required: ["specversion"] }, CLOUD_EVENT, BARE);
/** `application/json`: a bare event, a CloudEvent, or a list of either. */
export const EVENTS: Schema = choose(
  { type: "array" },
  { type: "array", minItems: 1, maxItems: BATCH_LIMIT, items: EVENT },
  EVENT,
);

/** Unlike `anyOf`, faults are named against the one form that was meant. */
function choose(when: Schema, yes: Schema, no: Schema): Schema {
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  return { if: when, then: yes, else: no };
}

export interface IncomingEvent {
  readonly specversion?: "1.0";
  readonly id?: string;
  readonly source?: string;
  readonly type: string;
  readonly time?: string;
  readonly priority?: Priority;
  readonly data?: unknown;
  readonly data_base64?: string;
  readonly [attribute: string]: unknown;
}

export interface StorableEvent {
  readonly id: string;
  readonly type: string;
  /** The source as one subject token. */
  readonly sourceToken: string;
  /** Recognises a repeat: the same for the same (source, id), and for nothing else. */
  readonly messageId: string;
  readonly body: Uint8Array;
}

/**
 * CloudEvents' binary mode: attributes in `ce-*` headers, the data as body. Undefined if no such header is there.
 * @throws {GatewayError} BAD_HEADER: a value is not percent-encoded UTF-8, or the version is missing.
 */
export function fromHeaders(headers: Readonly<Record<string, string | string[] | undefined>>, data: unknown) {
  const event: Record<string, unknown> = { data };
  let found = false;
  for (const [header, value] of Object.entries(headers)) {
    if (!header.startsWith("ce-")) continue;
    found = true;
    try {
      event[header.slice("ce-".length)] = decodeURIComponent(String(value));
    } catch (cause) {
      throw new GatewayError(
        "BAD_HEADER",
        `The header "${header}" is not percent-encoded UTF-8: encode the % sign as %25`,
        {},
        { cause },
      );
    }
  }
  if (!found) return undefined;
  // Without it the rest would pass for a bare event.
  if (event["specversion"] === undefined) {
    throw new GatewayError("BAD_HEADER", 'The header "ce-specversion" is missing: send "1.0"');
  }
  return event;
}

/**
 * The event as it is stored.
 * @throws {PayloadError} Its data is none.
 * @throws {GatewayError} PAYLOAD_TOO_LARGE: over {@link EVENT_LIMIT_BYTES}.
 */
export function storable(event: IncomingEvent, clock: Clock): StorableEvent {
  if (event.data_base64 !== undefined) cloudData(event); // what the reader would refuse is refused here
  const source = event.source ?? SOURCE_DEFAULT;
  const id = event.id ?? dataId(event.data) ?? clock.randomId(ID_BYTES);
  const stored = {
    ...event,
    specversion: "1.0",
    id,
    source,
    ...(event.time === undefined ? {} : { time: new Date(event.time).toISOString() }),
  };
  const body = Buffer.from(JSON.stringify(stored));
  if (body.length > EVENT_LIMIT_BYTES) {
    throw new GatewayError(
      "PAYLOAD_TOO_LARGE",
      `The event "${id.slice(0, 80)}" has ${body.length} bytes, ${EVENT_LIMIT_BYTES} are allowed: send a reference to the data instead`,
    );
  }
  const sourceToken = source
    .replaceAll(/[^A-Za-z0-9_-]+/g, "_")
    .replaceAll(/^_+|_+$/g, "")
    .slice(0, SOURCE_TOKEN_MAX);
  return {
    id,
    type: event.type,
    sourceToken: sourceToken === "" ? SOURCE_DEFAULT : sourceToken,
    messageId: `${encodeURIComponent(source)}/${encodeURIComponent(id)}`,
    body,
  };
}

/** The alert records of device hosts carry their id inside. */
function dataId(data: unknown): string | undefined {
  const named = isObject(data) ? data["id"] : undefined;
  const id = Number.isSafeInteger(named) ? String(named) : named;
  return typeof id === "string" && new RegExp(String(NAME["pattern"]), "u").test(id) ? id : undefined;
}
