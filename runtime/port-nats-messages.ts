/** How stored messages arrive from NATS: direct gets, batches and consumers, as the port's one shape. */
import type { JetStreamManager, JsMsg, StoredMsg } from "@nats-io/jetstream";
import type { Msg } from "nats";
import type { StoredMessage } from "./port.ts";

/** A direct get answers with the message itself; its place stands in headers. */
export function parseStored(stream: string, message: Msg): StoredMessage {
  const headers = message.headers;
  return {
    stream,
    subject: headers?.get("Nats-Subject") ?? "",
    seq: Number(headers?.get("Nats-Sequence")),
    data: message.data,
    timeMs: Date.parse(headers?.get("Nats-Time-Stamp") ?? ""),
    header: (name) => headers?.get(name) || undefined,
  };
}

export function fromStored(stream: string, message: StoredMsg | null): StoredMessage | null {
  if (message === null) return null;
  return {
    stream,
    subject: message.subject,
    seq: message.seq,
    data: message.data,
    timeMs: message.time.getTime(),
    header: (name) => message.header.get(name) || undefined,
  };
}

export function fromJsMsg(stream: string, message: JsMsg): StoredMessage {
  return {
    stream,
    subject: message.subject,
    seq: message.seq,
    data: message.data,
    timeMs: message.info.timestampNanos / 1e6,
    header: (name) => message.headers?.get(name) || undefined,
  };
}

/** One page of a stream by batched direct get. An empty stream is an empty page. */
export async function readPage(
  jsm: JetStreamManager,
  stream: string,
  query: { seq: number; next_by_subj: string; batch: number },
): Promise<StoredMessage[]> {
  const page: StoredMessage[] = [];
  try {
    const messages = await jsm.direct.getBatch(stream, query);
    for await (const message of messages) {
      const stored = fromStored(stream, message);
      if (stored !== null) page.push(stored);
    }
  } catch (error) {
    if (!(error instanceof Error && /not found|no message|no results/i.test(error.message))) throw error;
  }
  return page;
}
