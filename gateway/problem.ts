/**
 * Errors as RFC 9457 problems. Invariant: every code of the system has one line in {@link PROBLEMS}; what is not an
 * error of ours becomes a 500 that says nothing of the inside.
 */
import { DeadlineError, TroupeError } from "../runtime/errors.ts";
import { DefinitionInvalidError } from "../agents/index.ts";
import { BODY_LIMIT } from "./bodies.ts";
import { GatewayError, PartialBatchError, type ProblemExtras } from "./errors.ts";

export const PROBLEM_TYPE = "application/problem+json";
/** Longest path that a problem repeats, in characters: it is the caller's text. */
const INSTANCE_MAX = 512;
/** Pause that a caller is asked to make before it tries again, in s: about the time of a fail-over. */
const RETRY_AFTER_S = 1;

interface Line {
  readonly status: number;
  readonly title: string;
  readonly retryAfterS?: number;
}

const later = (title: string, status = 503): Line => ({ status, title, retryAfterS: RETRY_AFTER_S });

export const PROBLEMS: Readonly<Record<string, Line>> = {
  BROKER_UNAVAILABLE: later("NATS does not answer"),
  STREAM_FULL: later("A stream is full"),
  NO_RESPONDER: later("No node serves this just now"),
  HOST_OFFLINE: later("The host is offline"),
  BUSY: later("Too much is waiting"),
  SEALED: later("The node is rejoining"),
  ABORTED: later("The call was given up"),
  DEADLINE: later("No answer in time", 504),
  REVISION_CONFLICT: { status: 409, title: "Somebody else wrote" },
  QUARANTINED: { status: 409, title: "The actor is quarantined" },
  MOVED: { status: 409, title: "The actor failed over to another" },
  DEAD_LETTER: { status: 409, title: "The dead letter cannot be taken again" },
  LETTER_NOT_FOUND: { status: 404, title: "Unknown dead letter" },
  CYCLE: { status: 409, title: "The call came back to its caller" },
  ACTOR_DONE: { status: 409, title: "The actor has ended" },
  VERSION_MISMATCH: { status: 409, title: "Stored state has another version" },
  BAD_ADDRESS: { status: 400, title: "Address not valid" },
  BAD_PAYLOAD: { status: 400, title: "Payload not valid" },
  UNKNOWN_KIND: { status: 404, title: "Unknown kind of actor" },
  ACTOR_NOT_FOUND: { status: 404, title: "Unknown actor" },
  HISTORY_GAP: { status: 410, title: "The history does not reach back" },
  UNKNOWN_EVENT: { status: 422, title: "Unknown event" },
  POISON_MESSAGE: { status: 422, title: "The actor failed on this message" },
  BAD_STATE: { status: 422, title: "The actor's state would not be storable" },
  BAD_DEFINITION: { status: 422, title: "The machine cannot be durable" },
  NOT_DETERMINISTIC: { status: 500, title: "The machine is not deterministic" },
  CORRUPT_RECORD: { status: 500, title: "A stored record is damaged" },
  NAME_TAKEN: { status: 409, title: "Another node has this name" },

  AGENT_NOT_FOUND: { status: 404, title: "Unknown agent" },
  DEFINITION_INVALID: { status: 422, title: "Agent definition not valid" },
  VERSION_CONFLICT: { status: 409, title: "This version exists with other content" },
  BAD_SKILL: { status: 422, title: "A skill is declared in a way that cannot run" },
  NOT_STARTED: { status: 422, title: "A command cannot be started" },

  NOT_FOUND: { status: 404, title: "No such path" },
  METHOD_NOT_ALLOWED: { status: 405, title: "Method not allowed" },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: "Content type not supported" },
  PAYLOAD_TOO_LARGE: { status: 413, title: "Payload too large" },
  BAD_REQUEST: { status: 400, title: "Request not valid" },
  BAD_QUERY: { status: 400, title: "Query not valid" },
  BAD_HEADER: { status: 400, title: "Header not valid" },
  MISDIRECTED: { status: 421, title: "Not a name of this gateway" },
  REQUEST_TIMEOUT: { status: 408, title: "The request came too slowly" },
  HEADERS_TOO_LARGE: { status: 431, title: "Headers too large" },
  NOT_DEPLOYED: { status: 409, title: "The agent refuses the plan" },
  UNKNOWN_RESOURCE: { status: 404, title: "Unknown resource" },
  STALE_TOKEN: { status: 409, title: "The grant is over" },
  NOT_HOLDER: { status: 409, title: "Somebody else holds it" },
  DEADLOCK: { status: 409, title: "Taken out of the line to break a deadlock" },
  NOT_WAITING: { status: 409, title: "Not in the line" },
  QUEUE_FULL: later("Too many wait for it"),
  NOT_READY: later("Not ready"),
  STOPPING: later("The gateway is stopping"),
  INTERNAL: { status: 500, title: "Internal error" },
};

/** A newer node's code that this gateway does not know yet. */
const UNKNOWN_CODE: Line = { status: 502, title: "A node refused" };
/** Faults named in one problem at most: enough to fix a file in one go, and an answer stays small. */
const MAX_FAULTS = 100;

export interface Problem extends ProblemExtras {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly instance: string;
}

export interface ProblemAnswer {
  readonly problem: Problem;
  readonly retryAfterS: number | undefined;
  /** True if the cause is ours and belongs in the log. */
  readonly internal: boolean;
}

/** Turns whatever was thrown into the problem that the caller sees. */
export function problemOf(error: unknown, request: { readonly url: string; readonly id: string }): ProblemAnswer {
  const known = error instanceof TroupeError ? error : fromFastify(error);
  const line = PROBLEMS[known.code] ?? UNKNOWN_CODE;
  const internal = line.status === 500;
  const extras = extrasOf(known);
  return {
    problem: {
      type: `urn:troupe:problem:${known.code.toLowerCase().replaceAll("_", "-")}`,
      title: line.title,
      status: line.status,
      detail: internal ? `The gateway's log has the cause under request "${request.id}"` : firstLine(known.message),
      code: known.code,
      instance: (request.url.split("?", 1)[0] ?? "").slice(0, INSTANCE_MAX),
      ...extras,
      ...(extras.errors === undefined ? {} : { errors: extras.errors.slice(0, MAX_FAULTS) }),
    },
    retryAfterS: line.retryAfterS,
    internal,
  };
}

function extrasOf(error: TroupeError): ProblemExtras {
  if (error instanceof GatewayError || error instanceof PartialBatchError) return error.extras;
  return error instanceof DefinitionInvalidError ? { errors: error.problems } : {};
}

/** Messages for terminals list every fault on a line; here those are in `errors`. */
const firstLine = (message: string): string => (message.split("\n", 1)[0] ?? "").replace(/:$/, "");

/** What fastify itself refuses, by status: its own codes are too many and change between releases. */
function fromFastify(error: unknown): TroupeError {
  const { statusCode, code, message } = error instanceof Error ? (error as Error & FastifyFault) : ({} as FastifyFault);
  const options = { cause: error };
  if (code === "FST_ERR_HANDLER_TIMEOUT") {
    return new DeadlineError("No answer in time: try again, and look at /health/ready", options);
  }
  if (statusCode === 413) {
    const text = `The body has more than ${BODY_LIMIT} bytes: send less at once, or the address of large data`;
    return new GatewayError("PAYLOAD_TOO_LARGE", text, {}, options);
  }
  if (statusCode === 415) {
    const text = "The content type is not taken here: /openapi.json lists what is";
    return new GatewayError("UNSUPPORTED_MEDIA_TYPE", text, {}, options);
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    const text = WAYS_OUT[code ?? ""] ?? `${message}: correct the request, /openapi.json describes it`;
    return new GatewayError("BAD_REQUEST", text, {}, options);
  }
  return new GatewayError("INTERNAL", "Internal error", {}, options);
}

const WAYS_OUT: Readonly<Record<string, string>> = {
  FST_ERR_MAX_PARAM_LENGTH: "The path is longer than any id: check the id in it",
  FST_ERR_BAD_URL: "The path is not percent-encoded UTF-8: encode the % sign as %25",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH:
    "The body is not as long as its Content-Length: send it again, whole, with the length it has",
};

interface FastifyFault {
  readonly statusCode?: number;
  readonly code?: string;
  readonly message?: string;
}
