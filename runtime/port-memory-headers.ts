/** What an append asks of the server, as the server's own headers. Invariant: the in-memory server reads only these, as the real one does. */
import { PayloadError } from "./errors.ts";
import type { AppendOptions, HeaderBag } from "./port.ts";

export function appendHeaders({
  headers,
  expectedLastSubjectSeq,
  messageId,
  ttlS,
  schedule,
}: AppendOptions): HeaderBag {
  return {
    ...headers,
    ...(expectedLastSubjectSeq === undefined
      ? {}
      : { "Nats-Expected-Last-Subject-Sequence": String(expectedLastSubjectSeq) }),
    ...(messageId === undefined ? {} : { "Nats-Msg-Id": messageId }),
    ...(ttlS === undefined ? {} : { "Nats-TTL": `${ttlS}s` }),
    ...(schedule === undefined
      ? {}
      : { "Nats-Schedule": `@at ${new Date(schedule.atMs).toISOString()}`, "Nats-Schedule-Target": schedule.target }),
  };
}

/** The server's default, in bytes. */
export const DEFAULT_MAX_PAYLOAD = 1_048_576;

/** Size of a header block on the wire, as the server counts it against its largest message. */
export function headerBytes(headers: HeaderBag): number {
  let bytes = "NATS/1.0\r\n\r\n".length;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + value.length + ": \r\n".length;
  return bytes;
}

/**
 * @throws {PayloadError} The message with its headers is larger than the server takes.
 */
export function refuseOversize(maxPayload: number, subject: string, data: Uint8Array, headers: HeaderBag = {}): void {
  const bytes = data.length + (Object.keys(headers).length === 0 ? 0 : headerBytes(headers));
  if (bytes <= maxPayload) return;
  throw new PayloadError(
    `The message to "${subject}" has ${bytes} bytes, more than the server's ${maxPayload}: send less`,
  );
}
