/**
 * Answers that leave together: a burst of calls from one connection is answered in one message instead of one each, which
 * spares the server, the caller and this process most of their work. Invariant: only a caller that says in its reply address
 * that it can take them apart gets a batch; each answer reaches its own call.
 */
import { decode, encode } from "./codec.ts";
import { CorruptRecordError } from "./errors.ts";

/** First character of a reply token whose caller can take batches: `_INBOX.<connection>.$<call>`. Alone it is the batch's token. */
export const BATCHABLE = "$";

/** A batch leaves when it holds this much, in bytes: far below a message's limit, and a long one would delay its first answer. */
const BATCH_BYTES = 65_536;

interface Batch {
  bytes: number;
  /** Call, answer, call, answer, … */
  readonly parts: (string | Uint8Array)[];
}

export class Answers {
  readonly #publish: (subject: string, data: Uint8Array) => void;
  /** By the caller's inbox, for the present turn. */
  #batches = new Map<string, Batch>();

  constructor(publish: (subject: string, data: Uint8Array) => void) {
    this.#publish = publish;
  }

  /** Sends `data` to `reply` at the end of this turn, with what else goes to the same caller. */
  add(reply: string, data: Uint8Array): void {
    const start = reply.lastIndexOf(".") + 1;
    if (reply[start] !== BATCHABLE || data.length > BATCH_BYTES) {
      this.#publish(reply, data);
      return;
    }
    const inbox = reply.slice(0, start);
    let batch = this.#batches.get(inbox);
    if (batch === undefined) {
      if (this.#batches.size === 0) queueMicrotask(() => this.#flush());
      this.#batches.set(inbox, (batch = { bytes: 0, parts: [] }));
    }
    batch.parts.push(reply.slice(start), data);
    batch.bytes += data.length;
    if (batch.bytes < BATCH_BYTES) return;
    this.#send(inbox, batch.parts.splice(0));
    batch.bytes = 0;
  }

  #flush(): void {
    const batches = this.#batches;
    this.#batches = new Map();
    for (const [inbox, { parts }] of batches) this.#send(inbox, parts);
  }

  #send(inbox: string, parts: readonly (string | Uint8Array)[]): void {
    if (parts.length === 0) return;
    if (parts.length === 2) this.#publish(inbox + (parts[0] as string), parts[1] as Uint8Array);
    else this.#publish(inbox + BATCHABLE, encode(parts));
  }
}

/**
 * Hands every answer of a batch to its call.
 * @throws {CorruptRecordError} Not a batch; no answer was handed out.
 */
export function takeApart(bytes: Uint8Array, take: (call: string, data: Uint8Array) => void): void {
  const parts = decode(bytes);
  if (!Array.isArray(parts) || parts.length % 2 !== 0 || !parts.every(isPart))
    throw new CorruptRecordError("The message is not a batch of answers: are nodes and clients of the same release?");
  for (let i = 0; i < parts.length; i += 2) take(parts[i] as string, parts[i + 1] as Uint8Array);
}

const isPart = (part: unknown, index: number): boolean =>
  index % 2 === 0 ? typeof part === "string" : part instanceof Uint8Array;
