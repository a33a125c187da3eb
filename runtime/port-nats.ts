/**
 * The broker port on a real NATS server (2.14 or newer). Invariant: the hot path uses only raw publishes and the
 * connection's own reply mux; the client library's JetStream layers serve what is rare.
 */
import { AckPolicy, DeliverPolicy, jetstream, type JetStreamClient, type JetStreamManager, jetstreamManager, type JsMsg } from "@nats-io/jetstream";
import { connect, type ConnectionOptions, headers as makeHeaders, type Msg, type MsgHdrs, type NatsConnection } from "nats";
import { type Clock, systemClock } from "./clock.ts";
import { BrokerUnavailableError, NoResponderError, RevisionConflictError, StreamFullError } from "./errors.ts";
import { APPEND_TIMEOUT_MS } from "./limits.ts";
import { RequestMux } from "./mux.ts";
import type { AppendOptions, Broker, BrokerStatus, ConsumeOptions, Delivery, FollowOptions, HeaderBag, InboundMessage, ReadOptions, StoredMessage, Subscription } from "./port.ts";
import { fromJsMsg, fromStored, parseStored, readPage } from "./port-nats-messages.ts";

export interface BrokerOptions {
  readonly servers: string | readonly string[];
  /** Shown by the server's monitoring. */
  readonly name?: string;
  readonly clock?: Clock;
  /** Give up connecting after this long, in ms; without it a missing server is an error at once. */
  readonly waitMs?: number;
}

/** Patience with the server's management API, in ms: without a meta leader it blocks for 4 to 8 s. */
const API_TIMEOUT_MS = 10_000;
const EMPTY = new Uint8Array(0);
const WRONG_LAST_SEQUENCE = 10_071;

/**
 * Connects to NATS and keeps the connection.
 * @throws {BrokerUnavailableError} No server answers at the given addresses.
 */
export async function connectBroker(options: BrokerOptions): Promise<Broker & { readonly connection: NatsConnection }> {
  const clock = options.clock ?? systemClock;
  const settings: ConnectionOptions = {
    servers: typeof options.servers === "string" ? options.servers.split(",") : [...options.servers],
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    pingInterval: 2_000,
    maxPingOut: 2,
    noAsyncTraces: true,
    ...(options.name === undefined ? {} : { name: options.name }),
  };
  const giveUpAt = clock.monotonic() + (options.waitMs ?? 0);
  for (;;) {
    try {
      const connection = await connect(settings);
      return new NatsBroker(connection, await jetstreamManager(connection, { checkAPI: false, timeout: API_TIMEOUT_MS }), clock);
    } catch (cause) {
      if (clock.monotonic() >= giveUpAt) {
        throw new BrokerUnavailableError(`No NATS server answers at ${String(settings.servers)}: start one, or set NATS_URL`, { cause });
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 100));
    }
  }
}

class NatsBroker implements Broker {
  readonly connection: NatsConnection;
  readonly #mux: RequestMux;
  readonly #js: JetStreamClient;
  readonly #jsm: JetStreamManager;
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  readonly #replicas = new Map<string, Promise<number>>();
  #status: BrokerStatus = "connected";

  constructor(connection: NatsConnection, jsm: JetStreamManager, clock: Clock) {
    this.connection = connection;
    this.#mux = new RequestMux(connection, clock);
    this.#jsm = jsm;
    this.#js = jetstream(connection, { timeout: API_TIMEOUT_MS });
    void this.#followStatus();
  }

  get maxPayload(): number {
    return this.connection.info?.max_payload ?? 1_048_576;
  }

  get status(): BrokerStatus {
    return this.#status;
  }

  publish(subject: string, data: Uint8Array, options?: { readonly reply?: string; readonly headers?: HeaderBag }): boolean {
    if (this.#status !== "connected") return false; // the library would drop it silently
    if (options === undefined) this.connection.publish(subject, data);
    else this.connection.publish(subject, data, { ...(options.reply && { reply: options.reply }), ...(options.headers && { headers: toHeaders(options.headers) }) });
    return true;
  }

  async request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return (await this.#mux.call(subject, data, timeoutMs)).data;
  }

  subscribe(subject: string, onMessage: (message: InboundMessage) => void): Subscription {
    return this.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(new NatsInbound(message));
      },
    });
  }

  async append(subject: string, data: Uint8Array, options: AppendOptions = {}): Promise<number> {
    let message: Msg;
    try {
      message = await this.#mux.call(subject, data, options.timeoutMs ?? APPEND_TIMEOUT_MS, appendHeaders(options));
    } catch (cause) {
      if (!(cause instanceof NoResponderError)) throw cause;
      throw new BrokerUnavailableError(`No stream takes "${subject}" now: apply the streams, or wait for a leader`, { cause });
    }
    const ack = JSON.parse(message.string()) as { seq?: number; error?: { err_code?: number; description?: string } };
    if (ack.error === undefined && ack.seq !== undefined) return ack.seq;
    throw appendError(subject, options, ack.error ?? {});
  }

  async getLast(stream: string, subject: string): Promise<StoredMessage | null> {
    // Followers of a replicated stream may lag: then only the leader's answer is the last message.
    if ((await this.#replicasOf(stream)) > 1) return fromStored(stream, await this.#jsm.streams.getMessage(stream, { last_by_subj: subject }));
    const message = await this.#mux.call(`$JS.API.DIRECT.GET.${stream}.${subject}`, EMPTY, API_TIMEOUT_MS);
    return message.headers?.code === 404 ? null : parseStored(stream, message);
  }

  async read(stream: string, options: ReadOptions): Promise<StoredMessage[]> {
    return await readPage(this.#jsm, stream, { seq: options.fromSeq ?? 1, next_by_subj: options.subject, batch: options.limit ?? 256 });
  }

  async readLast(stream: string, subject: string, limit: number): Promise<StoredMessage[]> {
    const found: StoredMessage[] = [];
    const messages = await this.#jsm.direct.getLastMessagesFor(stream, { multi_last: [subject], batch: limit }).catch(ignoreNotFound);
    if (messages === null) return found;
    for await (const message of messages) {
      const stored = fromStored(stream, message);
      if (stored !== null) found.push(stored);
    }
    return found;
  }

  async subjects(stream: string, filter: string): Promise<Map<string, number>> {
    const info = await this.#jsm.streams.info(stream, { subjects_filter: filter });
    return new Map(Object.entries(info.state.subjects ?? {}));
  }

  async purge(stream: string, options: { readonly subject: string; readonly belowSeq?: number }): Promise<number> {
    const done = await this.#jsm.streams.purge(stream, {
      filter: options.subject,
      ...(options.belowSeq !== undefined && { seq: options.belowSeq }),
    });
    return done.purged;
  }

  async remove(stream: string, seq: number): Promise<boolean> {
    return await this.#jsm.streams.deleteMessage(stream, seq, false).catch((error: unknown) => {
      if (error instanceof Error && /no message found/i.test(error.message)) return false;
      throw error;
    });
  }

  async follow(stream: string, options: FollowOptions, onMessage: (message: StoredMessage) => void): Promise<Subscription> {
    const policy = { all: DeliverPolicy.All, last: DeliverPolicy.LastPerSubject, new: DeliverPolicy.New }[options.from];
    const consumer = await this.#js.consumers.get(stream, { filter_subjects: [...options.subjects], deliver_policy: policy });
    const messages = await consumer.consume({ callback: (message) => onMessage(fromJsMsg(stream, message)) });
    return { unsubscribe: () => messages.stop() };
  }

  async consume(stream: string, options: ConsumeOptions, onMessage: (delivery: Delivery) => void): Promise<Subscription> {
    await this.#jsm.consumers.add(stream, {
      durable_name: options.durable,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ack_wait: options.ackWaitMs * 1_000_000,
      filter_subjects: [...options.subjects],
      max_ack_pending: options.maxInFlight * 64, // shared by up to 64 processes
    });
    const consumer = await this.#js.consumers.get(stream, options.durable);
    const messages = await consumer.consume({
      max_messages: options.maxInFlight,
      callback: (message) => onMessage(toDelivery(stream, message)),
    });
    return { unsubscribe: () => messages.stop() };
  }

  onStatus(listener: (status: BrokerStatus) => void): Subscription {
    this.#listeners.add(listener);
    return { unsubscribe: () => this.#listeners.delete(listener) };
  }

  async flush(): Promise<void> {
    await this.connection.flush();
  }

  async close(): Promise<void> {
    this.#mux.close();
    if (this.connection.isClosed()) return;
    // After a lost connection there is nothing to flush to.
    if (this.#status === "connected") await this.connection.flush().catch(() => undefined);
    await this.connection.close();
  }

  #replicasOf(stream: string): Promise<number> {
    let known = this.#replicas.get(stream);
    if (known === undefined) {
      known = this.#jsm.streams.info(stream).then((info) => info.config.num_replicas);
      known.catch(() => this.#replicas.delete(stream));
      this.#replicas.set(stream, known);
    }
    return known;
  }

  async #followStatus(): Promise<void> {
    for await (const change of this.connection.status()) {
      if (change.type === "disconnect") this.#set("disconnected");
      else if (change.type === "reconnect") this.#set("connected");
    }
    this.#set("closed");
  }

  #set(status: BrokerStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }
}

class NatsInbound implements InboundMessage {
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

function toDelivery(stream: string, message: JsMsg): Delivery {
  return {
    ...fromJsMsg(stream, message),
    attempt: message.info.deliveryCount,
    ack: () => message.ack(),
    nak: (delayMs) => message.nak(delayMs),
  };
}

function toHeaders(bag: HeaderBag): MsgHdrs {
  const made = makeHeaders();
  for (const name of Object.keys(bag)) made.set(name, bag[name] as string);
  return made;
}

function appendHeaders(options: AppendOptions): MsgHdrs | undefined {
  const bag: Record<string, string> = { ...options.headers };
  if (options.expectedLastSubjectSeq !== undefined) bag["Nats-Expected-Last-Subject-Sequence"] = String(options.expectedLastSubjectSeq);
  if (options.messageId !== undefined) bag["Nats-Msg-Id"] = options.messageId;
  if (options.ttlS !== undefined) bag["Nats-TTL"] = `${Math.max(1, Math.trunc(options.ttlS))}s`;
  if (options.schedule !== undefined) {
    bag["Nats-Schedule"] = `@at ${new Date(options.schedule.atMs).toISOString()}`;
    bag["Nats-Schedule-Target"] = options.schedule.target;
  }
  return Object.keys(bag).length === 0 ? undefined : toHeaders(bag);
}

function appendError(subject: string, options: AppendOptions, error: { err_code?: number; description?: string }): Error {
  const what = error.description ?? "no reason given";
  if (error.err_code === WRONG_LAST_SEQUENCE) return new RevisionConflictError(subject, options.expectedLastSubjectSeq ?? 0);
  if (/maximum|insufficient|exceed/i.test(what)) return new StreamFullError(`The stream of "${subject}" refuses more (${what}): free space or raise its limit`);
  return new BrokerUnavailableError(`The append to "${subject}" was refused: ${what}`);
}

function ignoreNotFound(error: unknown): null {
  if (error instanceof Error && /not found|no message|no results/i.test(error.message)) return null;
  throw error;
}
