/**
 * The broker port on a real NATS server (2.14 or newer). Invariant: the hot path (publish, request, append, subscribe) uses
 * only raw publishes and the connection's own reply mux; no error of the client library leaves this folder's `port-nats*`.
 */
import { connect, type ConnectionOptions, type Msg, type MsgHdrs, type NatsConnection } from "nats";
import { Answers } from "./answers.ts";
import { type Clock, sleep, systemClock } from "./clock.ts";
import { BrokerUnavailableError, PayloadError } from "./errors.ts";
import { APPEND_TIMEOUT_MS } from "./limits.ts";
import { publishError, RequestMux } from "./mux.ts";
import type {
  AppendOptions,
  Broker,
  BrokerStatus,
  ConsumeOptions,
  Delivery,
  FollowOptions,
  HeaderBag,
  InboundMessage,
  ReadOptions,
  StoredMessage,
  Subscription,
} from "./port.ts";
import { APPEND, appendHeaders, JetStreamApi, readAck, toHeaders } from "./port-nats-api.ts";
import { NatsFollower } from "./port-nats-follow.ts";
import { NatsInbound } from "./port-nats-messages.ts";
import { NatsGroupShare } from "./port-nats-group.ts";
import { orCrash, type Wire } from "./port-nats-inbox.ts";
import { StreamReads } from "./port-nats-reads.ts";

export interface BrokerOptions {
  readonly servers: string | readonly string[];
  /** Shown by the server's monitoring. */
  readonly name?: string;
  readonly clock?: Clock;
  /** Give up connecting after this long, in ms; without it a missing server is an error at once. */
  readonly waitMs?: number;
}

/** Pause between two attempts to connect, in ms: short, as the server is usually on this host. */
const CONNECT_PAUSE_MS = 100;
/** A server that accepts the connection and says nothing for this long is not there, in ms. The client's own 20 s try a person. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A flush unanswered for this long is given up, in ms. */
const FLUSH_TIMEOUT_MS = 5_000;
/** The server's default, in bytes, should it not say. */
const DEFAULT_MAX_PAYLOAD = 1_048_576;

/**
 * Connects to NATS and keeps the connection.
 * @throws {BrokerUnavailableError} No server answers at the given addresses.
 */
export async function connectBroker(options: BrokerOptions): Promise<Broker & { readonly connection: NatsConnection }> {
  const clock = options.clock ?? systemClock;
  const settings: ConnectionOptions = {
    servers: typeof options.servers === "string" ? options.servers.split(",") : [...options.servers],
    maxReconnectAttempts: -1,
    reconnectTimeWait: CONNECT_PAUSE_MS,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: 2_000,
    maxPingOut: 2,
    noAsyncTraces: true,
    ...(options.name === undefined ? {} : { name: options.name }),
  };
  const giveUpAt = clock.monotonic() + (options.waitMs ?? 0);
  for (;;) {
    try {
      return new NatsBroker(await connect(settings), options.name ?? "", clock);
    } catch (cause) {
      if (clock.monotonic() >= giveUpAt) {
        throw new BrokerUnavailableError(
          `No NATS server answers at ${String(settings.servers)}: start one, or set NATS_URL`,
          { cause },
        );
      }
      await sleep(clock, CONNECT_PAUSE_MS);
    }
  }
}

type Reader = NatsFollower | NatsGroupShare;

const dataOf = (message: Msg): Uint8Array => message.data;

class NatsBroker implements Broker {
  readonly connection: NatsConnection;
  readonly maxPayload: number;
  readonly name: string;
  readonly #clock: Clock;
  readonly #mux: RequestMux;
  readonly #answers = new Answers((subject, data) => void this.publish(subject, data));
  readonly #reads: StreamReads;
  readonly #wire: Wire;
  readonly #readers = new Set<Reader>();
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  #status: BrokerStatus = "connected";
  #closing: Promise<void> | undefined;

  constructor(connection: NatsConnection, name: string, clock: Clock) {
    this.connection = connection;
    this.name = name;
    this.maxPayload = connection.info?.max_payload ?? DEFAULT_MAX_PAYLOAD;
    this.#clock = clock;
    this.#mux = new RequestMux(connection, clock);
    const api = new JetStreamApi(this.#mux);
    this.#reads = new StreamReads(this.#mux, api, clock);
    this.#wire = { connection, api, reads: this.#reads, clock, isConnected: () => this.#status === "connected" };
    void this.#followStatus();
  }

  get status(): BrokerStatus {
    return this.#status;
  }

  publish(
    subject: string,
    data: Uint8Array,
    options?: { readonly reply?: string; readonly headers?: HeaderBag },
  ): boolean {
    if (data.length > this.maxPayload) throw oversize(subject, data.length, this.maxPayload);
    if (this.#status !== "connected") return false; // the library would drop it silently
    try {
      if (options === undefined) this.connection.publish(subject, data);
      else {
        const { reply, headers } = options;
        this.connection.publish(subject, data, {
          ...(reply && { reply }),
          ...(headers && { headers: toHeaders(headers) }),
        });
      }
    } catch (cause) {
      const error = publishError(subject, cause);
      if (error instanceof BrokerUnavailableError) return false; // closed, and not yet told
      throw error;
    }
    return true;
  }

  answer(reply: string, data: Uint8Array): void {
    this.#answers.add(reply, data);
  }

  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#mux.call(subject, data, timeoutMs, dataOf);
  }

  giveUp(isGone: (subject: string) => boolean): void {
    this.#mux.giveUp(isGone);
  }

  subscribe(subject: string, onMessage: (message: InboundMessage) => void): Subscription {
    try {
      return this.connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) orCrash(() => onMessage(new NatsInbound(message)));
        },
      });
    } catch (cause) {
      throw publishError(subject, cause);
    }
  }

  append(subject: string, data: Uint8Array, options?: AppendOptions): Promise<number> {
    let headers: MsgHdrs | undefined;
    try {
      headers = options === undefined ? undefined : appendHeaders(options);
    } catch (cause) {
      return Promise.reject(publishError(subject, cause));
    }
    const take = (message: Msg) => readAck(subject, options?.expectedLastSubjectSeq, message);
    return this.#mux.call(subject, data, options?.timeoutMs ?? APPEND_TIMEOUT_MS, take, headers, APPEND);
  }

  getLast(stream: string, subject: string): Promise<StoredMessage | null> {
    return this.#reads.getLast(stream, subject);
  }

  read(stream: string, options: ReadOptions): Promise<StoredMessage[]> {
    return this.#reads.read(stream, options);
  }

  readLast(stream: string, subject: string, limit: number): Promise<StoredMessage[]> {
    return this.#reads.readLast(stream, subject, limit);
  }

  subjects(stream: string, filter: string): Promise<Map<string, number>> {
    return this.#reads.subjects(stream, filter);
  }

  purge(stream: string, options: { readonly subject: string; readonly belowSeq?: number }): Promise<number> {
    return this.#reads.purge(stream, options.subject, options.belowSeq);
  }

  remove(stream: string, seq: number): Promise<boolean> {
    return this.#reads.remove(stream, seq);
  }

  async follow(
    stream: string,
    options: FollowOptions,
    onMessage: (message: StoredMessage) => void,
  ): Promise<Subscription> {
    return await this.#open(new NatsFollower(this.#wire, stream, options, onMessage));
  }

  async consume(
    stream: string,
    options: ConsumeOptions,
    onMessage: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    return await this.#open(new NatsGroupShare(this.#wire, stream, options, onMessage));
  }

  onStatus(listener: (status: BrokerStatus) => void): Subscription {
    const own = (status: BrokerStatus) => listener(status);
    this.#listeners.add(own);
    return { unsubscribe: () => this.#listeners.delete(own) };
  }

  async flush(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const late = () =>
        reject(new BrokerUnavailableError(`No answer to the flush within ${FLUSH_TIMEOUT_MS} ms: try again`));
      const timer = this.#clock.setTimeout(late, FLUSH_TIMEOUT_MS);
      const fail = (cause: unknown) =>
        reject(new BrokerUnavailableError("The flush failed: the connection was lost or is closed", { cause }));
      void this.connection
        .flush()
        .then(resolve, fail)
        .finally(() => this.#clock.clearTimeout(timer));
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopAll();
    // After a lost connection there is nothing to flush to; and one that is lost meanwhile is closed all the same.
    if (this.#status === "connected") await this.flush().catch(() => undefined);
    await this.connection.close();
    this.#set("closed");
  }

  async #open(reader: Reader): Promise<Subscription> {
    this.#readers.add(reader);
    const unsubscribe = () => {
      this.#readers.delete(reader);
      reader.stop();
    };
    try {
      await reader.inbox.open();
    } catch (error) {
      unsubscribe();
      throw error;
    }
    return { unsubscribe };
  }

  #stopAll(): void {
    for (const reader of this.#readers) reader.stop();
    this.#readers.clear();
    this.#mux.close();
  }

  async #followStatus(): Promise<void> {
    for await (const change of this.connection.status()) {
      if (change.type === "disconnect") {
        this.#set("disconnected");
        this.#mux.interrupt();
      } else if (change.type === "reconnect") {
        this.#mux.resumed();
        this.#set("connected");
        for (const reader of this.#readers) reader.resume();
      }
    }
    this.#stopAll(); // the connection may have ended by itself
    this.#set("closed");
  }

  #set(status: BrokerStatus): void {
    if (this.#status === status || this.#status === "closed") return;
    this.#status = status;
    for (const listener of [...this.#listeners]) listener(status);
  }
}

const oversize = (subject: string, bytes: number, maxPayload: number): PayloadError =>
  new PayloadError(`The message to "${subject}" has ${bytes} bytes, more than the server's ${maxPayload}: send less`);
