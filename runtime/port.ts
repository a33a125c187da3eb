/**
 * What the runtime asks of the broker, and nothing more. Two implementations: NATS (`port-nats.ts`) and a deterministic
 * in-memory twin (`port-memory.ts`) for contract tests and simulation; `tests/contract` runs the same suite on both.
 *
 * Invariant: a resolved write is stored. A write that throws {@link RevisionConflictError} stored nothing; one that
 * throws {@link BrokerUnavailableError} has an unknown outcome and must be looked up before it is repeated.
 */

/** Extra headers of a message. Keys are the server's own header names (`Nats-TTL`, `Nats-Schedule`, …) or ours. */
export type HeaderBag = Readonly<Record<string, string>>;

export interface InboundMessage {
  readonly subject: string;
  /** Valid only during the callback; copy what must outlive it. */
  readonly data: Uint8Array;
  readonly reply: string | undefined;
  header(name: string): string | undefined;
}

export interface StoredMessage {
  readonly stream: string;
  readonly subject: string;
  /** Position in the stream, 1 for the first. */
  readonly seq: number;
  readonly data: Uint8Array;
  /** When the server stored it, in ms since 1970. */
  readonly timeMs: number;
  header(name: string): string | undefined;
}

export interface Subscription {
  /** Stops delivery at once. Idempotent. */
  unsubscribe(): void;
}

export interface AppendOptions {
  readonly headers?: HeaderBag;
  /** Compare-and-set: the subject's last message must have this sequence; 0: the subject must be empty. */
  readonly expectedLastSubjectSeq?: number;
  /** The server drops a second message with the same id within the stream's duplicate window. */
  readonly messageId?: string;
  /** Time to live in whole seconds, 1 at least. The stream must allow it. */
  readonly ttlS?: number;
  /** A schedule (ADR-51): the server publishes `data` to `target` at `atMs`. Replaces the subject's former schedule. */
  readonly schedule?: { readonly atMs: number; readonly target: string };
  /** How long to wait for the acknowledgement, in ms. Default {@link APPEND_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
}

export interface ReadOptions {
  /** Subject filter, wildcards allowed. */
  readonly subject: string;
  /** First sequence to return. Default 1. */
  readonly fromSeq?: number;
  /** Messages at most. Default 256. A shorter answer is the end of the stream as of now. */
  readonly limit?: number;
}

export interface FollowOptions {
  readonly subjects: readonly string[];
  /** `all`: from the first message; `last`: the last message of each subject, then what comes; `new`: only what comes. */
  readonly from: "all" | "last" | "new";
  /** How often the server says that it has nothing to say, in ms; after two and a half without a word it is asked anew. Default 2,000. */
  readonly heartbeatMs?: number;
}

export interface ConsumeOptions {
  /** Name of the durable consumer, shared by every process that names it. */
  readonly durable: string;
  readonly subjects: readonly string[];
  /** Messages in flight to this process at most. */
  readonly maxInFlight: number;
  /** Without an acknowledgement for this long the message is delivered again, in ms. */
  readonly ackWaitMs: number;
}

export interface Delivery extends StoredMessage {
  /** 1 at first, more on redelivery. */
  readonly attempt: number;
  ack(): void;
  /** Asks for redelivery after `delayMs`. */
  nak(delayMs: number): void;
}

export type BrokerStatus = "connected" | "disconnected" | "closed";

export interface Broker {
  /** Largest message that the server takes, headers included, in bytes. */
  readonly maxPayload: number;
  readonly status: BrokerStatus;
  /** Under which the server knows this connection, across reconnects. */
  readonly name: string;

  /** Fire and forget. While disconnected nothing is sent and `false` is returned. */
  publish(
    subject: string,
    data: Uint8Array,
    options?: { readonly reply?: string; readonly headers?: HeaderBag },
  ): boolean;
  /**
   * Answers a {@link request} at its reply address. Answers given in one turn to the same connection may share a message.
   * While disconnected nothing is sent: the caller asks again.
   */
  answer(reply: string, data: Uint8Array): void;
  /**
   * Core request. `data` of the answer is a copy.
   * @throws {NoResponderError} Nobody is subscribed. At once.
   * @throws {BrokerUnavailableError} No answer within `timeoutMs`; whether it was received is unknown.
   */
  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** Ends requests under way whose receiver is known to be gone, by their subject, as if it had not answered in time. */
  giveUp(isGone: (subject: string) => boolean): void;
  subscribe(subject: string, onMessage: (message: InboundMessage) => void): Subscription;

  /**
   * Appends to a stream; resolves with the sequence when stored.
   * @throws {RevisionConflictError} `expectedLastSubjectSeq` did not hold. Nothing was stored.
   * @throws {StreamFullError} The stream refuses more. Nothing was stored. Retryable.
   * @throws {BrokerUnavailableError} No acknowledgement. Unknown whether stored.
   */
  append(subject: string, data: Uint8Array, options?: AppendOptions): Promise<number>;
  /** The last message of a subject, delete markers included, or null. */
  getLast(stream: string, subject: string): Promise<StoredMessage | null>;
  /** A page of messages in sequence order. */
  read(stream: string, options: ReadOptions): Promise<StoredMessage[]>;
  /** The last message of every subject that matches, at most `limit`. */
  readLast(stream: string, subject: string, limit: number): Promise<StoredMessage[]>;
  /** How many messages each matching subject holds. */
  subjects(stream: string, filter: string): Promise<Map<string, number>>;
  /** Removes messages of `subject` (filter) with a sequence below `belowSeq`; all of them without it. Returns how many. */
  purge(stream: string, options: { readonly subject: string; readonly belowSeq?: number }): Promise<number>;
  /** Removes one message. False if there was none. */
  remove(stream: string, seq: number): Promise<boolean>;

  /** Ordered, unacknowledged, resumes by itself after reconnects; each message once, in order. */
  follow(stream: string, options: FollowOptions, onMessage: (message: StoredMessage) => void): Promise<Subscription>;
  /** Durable pull consumer shared by a group; creates it if missing. Without `ack` within `ackWaitMs` it comes again. */
  consume(stream: string, options: ConsumeOptions, onMessage: (delivery: Delivery) => void): Promise<Subscription>;

  /** Called on every change of {@link status}. */
  onStatus(listener: (status: BrokerStatus) => void): Subscription;
  /** Waits until all published bytes reached the server. */
  flush(): Promise<void>;
  close(): Promise<void>;
}
