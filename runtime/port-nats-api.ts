/**
 * What JetStream is asked by request, and what its refusals mean. Invariant: a definite refusal is never an unknown
 * outcome: who gets PayloadError, RevisionConflictError or StreamFullError knows that nothing was stored or changed.
 */
import { headers as makeHeaders, type Msg, type MsgHdrs } from "nats";
import { BrokerUnavailableError, PayloadError, RevisionConflictError, StreamFullError } from "./errors.ts";
import type { CallKind, RequestMux } from "./mux.ts";
import type { AppendOptions, HeaderBag } from "./port.ts";

/** Patience with the server's management API, in ms: without a meta leader it blocks for 4 to 8 s. */
export const API_TIMEOUT_MS = 10_000;
/** Statuses of HTTP that the server's refusals carry. */
const NOT_FOUND = 404;
const TOO_MANY_REQUESTS = 429;
const SERVER_FAULT = 500;
/** The server's own error codes. The second conflict is a replicated stream's, found before the message is proposed. */
const CONFLICTS: readonly unknown[] = [10_071, 10_164];
/** Of account, storage, memory and server: resources that a publish found exhausted. */
const EXHAUSTED: readonly unknown[] = [10_002, 10_023, 10_028, 10_047];
const STORE_FAILED = 10_077;
/** How the server words what a stream's configuration forbids; its status is that of a fault. */
const FORBIDDEN = /not permitted/i;

const encoder = new TextEncoder();
const EMPTY = new Uint8Array(0);

/** As it stands in the server's answers. */
export interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

export class JetStreamApi {
  readonly #mux: RequestMux;

  constructor(mux: RequestMux) {
    this.#mux = mux;
  }

  /**
   * One request to the API; `path` is its subject after the prefix.
   * @throws {BrokerUnavailableError} No answer, no such stream or consumer, or none that can answer now.
   * @throws {PayloadError} A definite refusal: nothing changed.
   */
  async call<T>(path: string, body?: object, timeoutMs = API_TIMEOUT_MS): Promise<T> {
    const answer = await this.ask<T>(path, body, timeoutMs);
    if (answer.error !== undefined) throw refusal(path, answer.error);
    return answer;
  }

  /** As {@link JetStreamApi.call}, but the caller reads the refusal. */
  ask<T>(path: string, body?: object, timeoutMs = API_TIMEOUT_MS): Promise<T & { readonly error?: ApiError }> {
    const data = body === undefined ? EMPTY : encodeBody(body);
    const take = (message: Msg) => parseAnswer<T & { readonly error?: ApiError }>(path, message);
    return this.#mux.call(`$JS.API.${path}`, data, timeoutMs, take, undefined, QUERY);
  }
}

export const encodeBody = (body: object): Uint8Array => encoder.encode(JSON.stringify(body));

/** Reads and management: repeating them does no harm. */
export const QUERY: CallKind = {
  nobody: (subject) =>
    new BrokerUnavailableError(`JetStream does not answer "${subject}" now: create the stream, or wait for a leader`),
  endsWithConnection: true,
};

/** Waits its time even if the connection is lost: the server may still be storing what is looked up too early. */
export const APPEND: CallKind = {
  nobody: (subject) =>
    new BrokerUnavailableError(`No stream takes "${subject}" now: create the stream, or wait for a leader`),
  endsWithConnection: false,
};

/** A refusal of the API, of a read or of a management request. */
export function refusal(what: string, { code = SERVER_FAULT, description = "no reason given" }: ApiError): Error {
  const isPassing = code >= SERVER_FAULT || code === NOT_FOUND || code === TOO_MANY_REQUESTS;
  if (isPassing && !FORBIDDEN.test(description)) {
    return new BrokerUnavailableError(`JetStream cannot answer "${what}" now (${description}): try again`);
  }
  return new PayloadError(`JetStream refuses "${what}": ${description}`);
}

/** The answer to an append: the sequence under which it is stored. */
export function readAck(subject: string, expectedSeq: number | undefined, message: Msg): number {
  const { seq, error } = parseAnswer<{ readonly seq?: number; readonly error?: ApiError }>(subject, message);
  if (error !== undefined) throw appendRefusal(subject, expectedSeq, error);
  if (seq === undefined) throw notJetStream(subject);
  return seq;
}

function appendRefusal(subject: string, expectedSeq: number | undefined, error: ApiError): Error {
  const { code = SERVER_FAULT, err_code, description = "no reason given" } = error;
  if (CONFLICTS.includes(err_code)) return new RevisionConflictError(subject, expectedSeq ?? 0);
  const isAtLimit = err_code === STORE_FAILED && /maximum/i.test(description);
  if (isAtLimit || EXHAUSTED.includes(err_code) || code === TOO_MANY_REQUESTS) {
    return new StreamFullError(`The stream of "${subject}" is full (${description}): free space, or try later`);
  }
  if (code >= SERVER_FAULT && !FORBIDDEN.test(description)) {
    return new BrokerUnavailableError(`The append to "${subject}" failed (${description}): look up its outcome`);
  }
  return new PayloadError(`The append to "${subject}" was refused (${description}): correct it, or the stream`);
}

function parseAnswer<T>(subject: string, message: Msg): T {
  let answer: unknown;
  try {
    answer = JSON.parse(message.string());
  } catch (cause) {
    throw notJetStream(subject, { cause });
  }
  if (typeof answer !== "object" || answer === null) throw notJetStream(subject);
  return answer as T;
}

const notJetStream = (subject: string, options?: ErrorOptions): Error =>
  new BrokerUnavailableError(`What answered on "${subject}" is not JetStream: stop the other responder`, options);

export function toHeaders(bag: HeaderBag): MsgHdrs {
  const made = makeHeaders();
  for (const name of Object.keys(bag)) made.set(name, bag[name] as string);
  return made;
}

/**
 * What an append asks of the server, as the server's own headers; undefined when it asks nothing.
 * @throws {PayloadError} A time to live that is not whole seconds, a time that is none.
 */
export function appendHeaders(options: AppendOptions): MsgHdrs | undefined {
  const { headers, expectedLastSubjectSeq, messageId, ttlS, schedule } = options;
  if (ttlS !== undefined && !(Number.isSafeInteger(ttlS) && ttlS >= 1)) {
    throw new PayloadError(`The time to live "${ttlS}s" is invalid: give whole seconds, 1 at least`);
  }
  let made = headers === undefined ? undefined : toHeaders(headers);
  if (expectedLastSubjectSeq !== undefined) {
    made ??= makeHeaders();
    made.set("Nats-Expected-Last-Subject-Sequence", String(expectedLastSubjectSeq));
  }
  if (messageId !== undefined) (made ??= makeHeaders()).set("Nats-Msg-Id", messageId);
  if (ttlS !== undefined) (made ??= makeHeaders()).set("Nats-TTL", `${ttlS}s`);
  if (schedule !== undefined) {
    made ??= makeHeaders();
    made.set("Nats-Schedule", `@at ${isoTime(schedule.atMs)}`);
    made.set("Nats-Schedule-Target", schedule.target);
  }
  return made;
}

function isoTime(atMs: number): string {
  const time = new Date(atMs);
  if (Number.isNaN(time.getTime())) {
    throw new PayloadError(`The schedule's time "${atMs}" is none: give ms since 1970`);
  }
  return time.toISOString();
}
