/** How stored messages arrive from NATS: direct gets, the leader's answers and consumers, as the port's one shape. */
import { type Msg, MsgHdrsImpl } from "nats";
import type { InboundMessage, StoredMessage } from "./port.ts";

/** Tokens of an acknowledgement address before domain and account were put into it. */
const SHORT_ADDRESS_TOKENS = 9;
const NS_PER_MS = 1_000_000;

/** A direct get answers with the message itself; its place stands in headers. */
export function parseDirect(stream: string, message: Msg): StoredMessage {
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

/** A message as the leader's API gives it; bytes in base64. */
export interface LeaderMessage {
  readonly subject: string;
  readonly seq: number;
  readonly data?: string;
  readonly hdrs?: string;
  readonly time: string;
}

export function parseLeader(stream: string, { subject, seq, data, hdrs, time }: LeaderMessage): StoredMessage {
  const headers = hdrs === undefined ? undefined : MsgHdrsImpl.decode(Buffer.from(hdrs, "base64"));
  return {
    stream,
    subject,
    seq,
    data: new Uint8Array(Buffer.from(data ?? "", "base64")),
    timeMs: Date.parse(time),
    header: (name) => headers?.get(name) || undefined,
  };
}

/** What the acknowledgement address of a delivered message tells of it. */
export interface Place {
  readonly attempt: number;
  readonly seq: number;
  /** Counts what this consumer delivered, 1 for the first. */
  readonly deliverySeq: number;
  readonly timeMs: number;
  /** Messages that the consumer has yet to deliver. */
  readonly pending: number;
}

/** `$JS.ACK[.<domain>.<account>].<stream>.<consumer>.<attempt>.<seq>.<delivery>.<ns>.<pending>[.<random>]` */
export function parsePlace(address: string): Place {
  const tokens = address.split(".");
  const at = tokens.length === SHORT_ADDRESS_TOKENS ? 4 : 6;
  return {
    attempt: Number(tokens[at]),
    seq: Number(tokens[at + 1]),
    deliverySeq: Number(tokens[at + 2]),
    timeMs: Number(tokens[at + 3]) / NS_PER_MS,
    pending: Number(tokens[at + 4]),
  };
}

export function parseDelivered(stream: string, message: Msg, { seq, timeMs }: Place): StoredMessage {
  const { subject, data, headers } = message;
  return { stream, subject, seq, data, timeMs, header: (name) => headers?.get(name) || undefined };
}

/** A message that was delivered; its data are the connection's. */
export class NatsInbound implements InboundMessage {
  readonly #message: Msg;
  constructor(message: Msg) {
    this.#message = message;
  }
  get subject(): string {
    return this.#message.subject;
  }
  get data(): Uint8Array {
    return this.#message.data;
  }
  get reply(): string | undefined {
    return this.#message.reply === "" ? undefined : this.#message.reply;
  }
  header(name: string): string | undefined {
    return this.#message.headers?.get(name) || undefined;
  }
}
