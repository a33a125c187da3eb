/** An actor's inputs as they were applied. Invariant: revisions ascend by one, each once, though chunks may overlap after a crash. */
import type { Names } from "../nats-config/subjects.ts";
import type { HistoryEntry } from "./api.ts";
import { decode } from "./codec.ts";
import { decodeInput } from "./envelope.ts";
import { CorruptRecordError, HistoryGapError } from "./errors.ts";
import { LIST_LIMIT } from "./limits.ts";
import type { Broker } from "./port.ts";

/** An input with its bytes, as replay wants it. */
export interface HistoryInput {
  readonly revision: number;
  readonly version: number;
  readonly seq: number;
  readonly timeMs: number;
  readonly body: Uint8Array;
  readonly poison: string | null;
}

/** History chunks read a page: bounds memory. */
const PAGE = 128;

/**
 * Reads what the history still has.
 * @throws {HistoryGapError} A chunk in the middle is missing.
 */
export async function readHistory(broker: Broker, names: Names, kind: string, id: string): Promise<HistoryInput[]> {
  const inputs: HistoryInput[] = [];
  for (let fromSeq = 1; ; ) {
    const page = await broker.read(names.stream.history, { subject: names.history(kind, id), fromSeq, limit: PAGE });
    for (const message of page) {
      for (const input of chunkOf(message.data)) {
        const last = inputs.at(-1)?.revision ?? input.revision - 1;
        if (input.revision <= last) continue; // written again by a later owner
        if (input.revision !== last + 1)
          throw new HistoryGapError(
            `The history of "${kind}/${id}" lacks revisions ${last + 1} to ${input.revision - 1}: was the stream purged?`,
          );
        inputs.push(input);
      }
      fromSeq = message.seq + 1;
    }
    if (page.length < PAGE || inputs.length >= LIST_LIMIT * 10) return inputs;
  }
}

function* chunkOf(bytes: Uint8Array): Generator<HistoryInput> {
  const fields = decode(bytes);
  if (!Array.isArray(fields) || fields[0] !== 1 || !Array.isArray(fields[3]))
    throw new CorruptRecordError("A history chunk is of another format: was it written by a newer release?");
  const [, version, first, rows] = fields as [number, number, number, [number, number, Uint8Array, string | null][]];
  for (const [index, [seq, timeMs, body, poison]] of rows.entries())
    yield { revision: first + index, version, seq, timeMs, body, poison };
}

export function toEntry({ revision, seq, timeMs, body, poison }: HistoryInput): HistoryEntry {
  const { sender, event } = decodeInput(body);
  return { revision, seq, timeMs, sender, event, ...(poison !== null && { poison }) };
}
