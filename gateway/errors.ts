/**
 * What the gateway itself refuses, beside the errors that it passes on. Invariant: every code here, in
 * `runtime/errors.ts` and in `agents/errors.ts` has its line in the table of `problem.ts`.
 */
import { TroupeError } from "../runtime/errors.ts";

export const GATEWAY_CODES = [
  "NOT_FOUND",
  "METHOD_NOT_ALLOWED",
  "UNSUPPORTED_MEDIA_TYPE",
  "PAYLOAD_TOO_LARGE",
  "BAD_REQUEST",
  "BAD_QUERY",
  "BAD_HEADER",
  "MISDIRECTED",
  "REQUEST_TIMEOUT",
  "HEADERS_TOO_LARGE",
  "NOT_DEPLOYED",
  "UNKNOWN_RESOURCE",
  "STALE_TOKEN",
  "NOT_HOLDER",
  "NOT_WAITING",
  "DEADLOCK",
  "QUEUE_FULL",
  "NOT_READY",
  "STOPPING",
  "INTERNAL",
] as const;
export type GatewayCode = (typeof GATEWAY_CODES)[number];

/** One fault of a request, with its place: a JSON pointer, or line and column of a text. */
export interface Fault {
  readonly message: string;
  readonly path?: string;
  readonly line?: number;
  readonly column?: number;
  /** How to put it right. */
  readonly hint?: string;
}

/** An event that is in the ingress stream. */
export interface StoredEvent {
  readonly id: string;
  readonly seq: number;
}

/** A part of the system that is not well: `writes` are refused by a node that answers reads. */
export interface Degraded {
  readonly part: "nats" | "streams" | "nodes" | "writes";
  readonly detail: string;
}

/** Members of the problem beside the standard ones. */
export interface ProblemExtras {
  readonly errors?: readonly Fault[];
  /** Events of a batch that are stored although the batch failed. */
  readonly stored?: readonly StoredEvent[];
  /** What is not well. */
  readonly degraded?: readonly Degraded[];
}

/** A request that the gateway refuses. Nothing was forwarded unless `extras.stored` says so. */
export class GatewayError extends TroupeError {
  override readonly name = "GatewayError";
  readonly code: GatewayCode;
  readonly retryable: boolean;
  readonly extras: ProblemExtras;
  constructor(code: GatewayCode, message: string, extras: ProblemExtras = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = code === "NOT_READY" || code === "QUEUE_FULL" || code === "STOPPING";
    this.extras = extras;
  }
}

/** A batch that ended early, with what ended it. What is stored by then is named; the whole batch may be sent again. */
export class PartialBatchError extends TroupeError {
  override readonly name = "PartialBatchError";
  readonly code: string;
  readonly retryable: boolean;
  readonly extras: ProblemExtras;
  constructor(cause: TroupeError, stored: readonly StoredEvent[], of: number) {
    super(`${stored.length} of ${of} events were stored: send them all again with their ids. ${cause.message}`, {
      cause,
    });
    this.code = cause.code;
    this.retryable = cause.retryable;
    this.extras = { stored };
  }
}

/** The gateway cannot listen where it was told to. */
export class ListenError extends TroupeError {
  override readonly name = "ListenError";
  readonly code = "CANNOT_LISTEN";
  readonly retryable = false;
}
