/**
 * One simulated node's connection to the in-memory server, and the faults that a test can give it. Invariant: what the node
 * calls travels over its wire, so a cut wire loses it as a real one would.
 */
import type { Clock } from "./clock.ts";
import { APPEND_TIMEOUT_MS } from "./limits.ts";
import { NoResponderError } from "./errors.ts";
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
import { MemoryCalls } from "./port-memory-calls.ts";
import { MemoryFollower } from "./port-memory-follow.ts";
import { Member } from "./port-memory-group.ts";
import { type Latency, type Loss, MemoryLink, type PartitionOptions } from "./port-memory-link.ts";
import { appendHeaders, DEFAULT_MAX_PAYLOAD, refuseOversize } from "./port-memory-headers.ts";
import { MemoryReaders } from "./port-memory-readers.ts";
import { closedError, MemoryRequests } from "./port-memory-requests.ts";
import type { Interest, MemoryServer, Packet } from "./port-memory-server.ts";
import { matcherOf } from "./port-memory-subject.ts";

/** A read, a purge or a flush unanswered for this long is given up, in ms. */
const CALL_TIMEOUT_MS = 5_000;
/** What stands in a message after its callback: whoever kept the bytes instead of a copy sees it. */
const STALE_BYTE = 0xa5;

export interface MemoryBrokerOptions {
  /** The node's own. */
  readonly clock: Clock;
  /** One way, each message, drawn by the clock's chance. Default none: microtasks carry all. */
  readonly latencyMs?: Latency;
  readonly maxPayload?: number;
  /** How long after {@link MemoryBroker.heal} followers and consumers go on. Default none. */
  readonly readersBackMs?: Latency;
}

export class MemoryBroker implements Broker {
  readonly maxPayload: number;
  readonly name: string;
  readonly #server: MemoryServer;
  readonly #link: MemoryLink;
  readonly #inbox: string;
  readonly #calls: MemoryCalls;
  readonly #requests = new MemoryRequests();
  readonly #interests = new Set<Interest>();
  readonly #readers: MemoryReaders;
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  readonly #appendFaults: Loss[] = [];
  #status: BrokerStatus = "connected";

  constructor(server: MemoryServer, id: string, { clock, latencyMs, maxPayload, readersBackMs }: MemoryBrokerOptions) {
    this.#server = server;
    this.name = id;
    this.#link = new MemoryLink(server.clock, clock, latencyMs);
    this.#readers = new MemoryReaders(clock, readersBackMs);
    this.#calls = new MemoryCalls(clock, this.#link);
    this.maxPayload = maxPayload ?? DEFAULT_MAX_PAYLOAD;
    this.#inbox = `_INBOX.${id}.`;
    this.#listen(`${this.#inbox}*`, ({ subject, data }) => this.#requests.get(subject)?.answer(new Uint8Array(data)));
  }

  get status(): BrokerStatus {
    return this.#status;
  }

  publish(
    subject: string,
    data: Uint8Array,
    options: { readonly reply?: string; readonly headers?: HeaderBag } = {},
  ): boolean {
    refuseOversize(this.maxPayload, subject, data, options.headers);
    if (this.#status !== "connected") return false;
    this.#send({ subject, data: new Uint8Array(data), headers: { ...options.headers }, reply: options.reply });
    return true;
  }

  answer(reply: string, data: Uint8Array): void {
    this.publish(reply, data);
  }

  request(subject: string, data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const reply = this.#requests.nextAddress(this.#inbox);
    return this.#call<Uint8Array>(`the request "${subject}"`, timeoutMs, (answer, refuse) => {
      refuseOversize(this.maxPayload, subject, data);
      this.#requests.set(reply, { subject, answer, refuse });
      if (this.#status === "connected") this.#send({ subject, data: new Uint8Array(data), headers: {}, reply });
    }).finally(() => this.#requests.delete(reply));
  }

  giveUp(isGone: (subject: string) => boolean): void {
    this.#requests.giveUp(isGone);
  }

  subscribe(subject: string, onMessage: (message: InboundMessage) => void): Subscription {
    if (this.#status === "closed") throw closedError(`the subscription to "${subject}"`);
    return this.#listen(subject, ({ subject: on, data, reply, headers }) => {
      const lent = new Uint8Array(data);
      onMessage({ subject: on, data: lent, reply, header: (name) => headers[name] });
      lent.fill(STALE_BYTE);
    });
  }

  append(subject: string, data: Uint8Array, options: AppendOptions = {}): Promise<number> {
    const headers = appendHeaders(options);
    const fault = this.#appendFaults.shift();
    return this.#call<number>(
      `the append to "${subject}"`,
      options.timeoutMs ?? APPEND_TIMEOUT_MS,
      (answer, refuse) => {
        refuseOversize(this.maxPayload, subject, data, headers);
        const copy = new Uint8Array(data);
        if (fault === undefined) this.#calls.ask(() => this.#server.append(subject, copy, headers), answer, refuse);
        else if (fault === "ack")
          this.#calls.ask(
            () => this.#server.append(subject, copy, headers),
            () => undefined,
            () => undefined,
          );
      },
    );
  }

  getLast(stream: string, subject: string): Promise<StoredMessage | null> {
    return this.#rpc(`the last message of "${subject}"`, () => this.#server.stream(stream).last(subject));
  }

  read(stream: string, options: ReadOptions): Promise<StoredMessage[]> {
    return this.#rpc(`a page of "${stream}"`, () => this.#server.stream(stream).page(options));
  }

  readLast(stream: string, subject: string, limit: number): Promise<StoredMessage[]> {
    return this.#rpc(`the last messages of "${subject}"`, () =>
      this.#server.stream(stream).lastPerSubject(subject, limit),
    );
  }

  subjects(stream: string, filter: string): Promise<Map<string, number>> {
    return this.#rpc(`the subjects of "${stream}"`, () => this.#server.stream(stream).counts(filter));
  }

  purge(
    stream: string,
    { subject, belowSeq }: { readonly subject: string; readonly belowSeq?: number },
  ): Promise<number> {
    return this.#rpc(`the purge of "${subject}"`, () => this.#server.stream(stream).purge(subject, belowSeq));
  }

  remove(stream: string, seq: number): Promise<boolean> {
    return this.#rpc(`the removal of ${seq} from "${stream}"`, () => this.#server.stream(stream).remove(seq));
  }

  async follow(
    stream: string,
    options: FollowOptions,
    onMessage: (message: StoredMessage) => void,
  ): Promise<Subscription> {
    return await this.#readers.open(
      (start) => this.#rpc(`the follower of "${stream}"`, start),
      () => {
        const follower = new MemoryFollower(this.#server.stream(stream), this.#link, options, onMessage);
        follower.start();
        return { stop: () => follower.stop(), pause: () => follower.pause(), resume: () => follower.resume() };
      },
    );
  }

  async consume(
    stream: string,
    options: ConsumeOptions,
    onMessage: (delivery: Delivery) => void,
  ): Promise<Subscription> {
    return await this.#readers.open(
      (start) => this.#rpc(`the consumer "${options.durable}"`, start),
      () => {
        const group = this.#server.group(stream, options);
        const member = new Member(this.#link, options.maxInFlight, onMessage);
        group.join(member, options);
        return { stop: () => group.leave(member), pause: () => member.goOffline(), resume: () => group.rejoin(member) };
      },
    );
  }

  onStatus(listener: (status: BrokerStatus) => void): Subscription {
    const own = (status: BrokerStatus) => listener(status);
    this.#listeners.add(own);
    return { unsubscribe: () => this.#listeners.delete(own) };
  }

  async flush(): Promise<void> {
    await this.#rpc("the flush", () => true);
  }

  async close(): Promise<void> {
    if (this.#status === "closed") return;
    this.#detach();
    this.#calls.failAll();
    this.#setStatus("closed");
  }

  /** The process is gone: no callback runs and no promise settles any more. */
  kill(): void {
    this.#detach();
    this.#calls.forgetAll();
    this.#listeners.clear();
    this.#status = "closed";
  }

  /** Cuts the wire. Publishes are dropped, appends fail as `lose` says, followers and consumers pause. */
  partition({ lose = "request", noticed = true }: PartitionOptions = {}): void {
    if (this.#status === "closed") return;
    this.#link.cut(lose === "ack");
    if (noticed) for (const interest of this.#interests) this.#server.interests.delete(interest);
    this.#readers.pause();
    this.#setStatus("disconnected");
  }

  heal(): void {
    if (this.#status !== "disconnected") return;
    this.#link.restore();
    for (const interest of this.#interests) this.#server.interests.add(interest);
    this.#readers.resume();
    this.#setStatus("connected");
  }

  /** The next `count` appends fail, though the wire stands. */
  failAppends(lose: Loss, count = 1): void {
    for (let i = 0; i < count; i += 1) this.#appendFaults.push(lose);
  }

  #listen(filter: string, onPacket: (packet: Packet) => void): Subscription {
    const interest: Interest = {
      matches: matcherOf(filter),
      send: (packet) =>
        this.#link.toClient(() => {
          if (this.#interests.has(interest)) onPacket(packet);
        }),
    };
    this.#interests.add(interest);
    if (this.#status === "connected") {
      this.#link.toServer(() => {
        if (this.#interests.has(interest)) this.#server.interests.add(interest);
      });
    }
    return {
      unsubscribe: () => {
        this.#interests.delete(interest);
        this.#server.interests.delete(interest);
      },
    };
  }

  #send(packet: Packet): void {
    this.#link.toServer(() => {
      if (this.#server.publish(packet)) return;
      this.#link.toClient(() => this.#requests.get(packet.reply ?? "")?.refuse(new NoResponderError(packet.subject)));
    });
  }

  #rpc<T>(what: string, serve: () => T): Promise<T> {
    return this.#call<T>(what, CALL_TIMEOUT_MS, (answer, refuse) => this.#calls.ask(serve, answer, refuse));
  }

  #call<T>(
    what: string,
    timeoutMs: number,
    start: (answer: (value: T) => void, refuse: (error: Error) => void) => void,
  ): Promise<T> {
    return this.#status === "closed" ? Promise.reject(closedError(what)) : this.#calls.call(what, timeoutMs, start);
  }

  #detach(): void {
    this.#link.cut(false);
    for (const interest of this.#interests) this.#server.interests.delete(interest);
    this.#interests.clear();
    this.#readers.stop();
  }

  #setStatus(status: BrokerStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    for (const listener of [...this.#listeners]) listener(status);
  }
}
