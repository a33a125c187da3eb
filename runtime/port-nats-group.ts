/**
 * One process's share of a durable consumer. Invariant: it asks for no more messages than it has room for, so no more than
 * `maxInFlight` are with this process unacknowledged; what it lost or left comes again when the wait for it ends.
 */
import type { Msg } from "nats";
import type { TimerHandle } from "./clock.ts";
import type { ConsumeOptions, Delivery } from "./port.ts";
import { encodeBody } from "./port-nats-api.ts";
import { HEARTBEAT_MS, type InboxOwner, ServerInbox, type Wire } from "./port-nats-inbox.ts";
import { parseDelivered, parsePlace, type Place } from "./port-nats-messages.ts";

const NS_PER_MS = 1_000_000;
/** A request for messages stands this long at the server, in ms. */
const PULL_EXPIRES_MS = 30_000;
/** Messages of one group unacknowledged at most, over all processes and with those that wait after a `nak`: the server keeps each in memory. */
const GROUP_MAX_PENDING = 65_536;
/** Room is asked for by this part of `maxInFlight`: fewer requests than one a message, and none that starves. */
const PULL_PART = 4;
/** Statuses: heartbeat, and the end of a request that found too few messages. */
const IDLE = 100;
const PULL_EXPIRED = 408;

const ACK = new TextEncoder().encode("+ACK");

export class NatsGroupShare implements InboxOwner {
  readonly inbox: ServerInbox;
  readonly heartbeatMs = HEARTBEAT_MS;
  readonly #wire: Wire;
  readonly #stream: string;
  readonly #options: ConsumeOptions;
  readonly #onMessage: (delivery: Delivery) => void;
  readonly #pullPart: number;
  /** By sequence, the oldest first: until when a message takes a place. */
  readonly #held = new Map<number, { readonly untilMs: number }>();
  /** Where messages are asked for; empty while nothing is attached. */
  #address = "";
  #attaching = "";
  /** Messages asked for that have not come. */
  #requested = 0;
  #expiry: TimerHandle | undefined;
  #isStopped = false;

  constructor(wire: Wire, stream: string, options: ConsumeOptions, onMessage: (delivery: Delivery) => void) {
    this.#wire = wire;
    this.#stream = stream;
    this.#options = options;
    this.#onMessage = onMessage;
    this.#pullPart = Math.ceil(options.maxInFlight / PULL_PART);
    this.inbox = new ServerInbox(wire, this);
  }

  async attach(address: string, timeoutMs: number): Promise<void> {
    this.#address = "";
    this.#attaching = address;
    const { durable, subjects, ackWaitMs } = this.#options;
    const config = {
      name: durable,
      durable_name: durable,
      deliver_policy: "all",
      ack_policy: "explicit",
      ack_wait: ackWaitMs * NS_PER_MS,
      filter_subjects: [...new Set(subjects)],
      max_ack_pending: GROUP_MAX_PENDING,
    };
    // Without an action it is created, left as it is, or updated.
    const body = { stream_name: this.#stream, config };
    await this.#wire.api.call(`CONSUMER.CREATE.${this.#stream}.${durable}`, body, timeoutMs);
    if (this.#attaching !== address) return; // a later attempt is under way
    this.#address = address;
    this.#requested = 0;
    this.#pull();
  }

  receive(message: Msg): void {
    const status = message.data.length === 0 ? (message.headers?.code ?? 0) : 0;
    if (status === 0) this.#onDelivery(message);
    else if (status !== IDLE) this.#onPullEnd(status, message.headers?.get("Nats-Pending-Messages") || undefined);
    this.#pull();
  }

  expectsHeartbeat(): boolean {
    return this.#requested > 0;
  }

  resume(): void {
    this.inbox.resume();
  }

  stop(): void {
    this.#isStopped = true;
    this.inbox.close();
    this.#wire.clock.clearTimeout(this.#expiry);
  }

  #onPullEnd(status: number, unserved: string | undefined): void {
    if (status === PULL_EXPIRED && unserved !== undefined) {
      this.#requested = Math.max(0, this.#requested - Number(unserved));
      return;
    }
    this.#address = "";
    this.inbox.reopen();
  }

  #onDelivery(message: Msg): void {
    const address = message.reply ?? "";
    const place = parsePlace(address);
    this.#requested = Math.max(0, this.#requested - 1);
    const hold = { untilMs: this.#wire.clock.monotonic() + this.#options.ackWaitMs };
    this.#held.delete(place.seq); // its turn in the order is that of the new attempt
    this.#held.set(place.seq, hold);
    this.#expiry ??= this.#wire.clock.setTimeout(() => this.#expire(), this.#options.ackWaitMs);
    this.#onMessage(this.#toDelivery(message, place, hold, address));
  }

  #toDelivery(message: Msg, place: Place, hold: { readonly untilMs: number }, address: string): Delivery {
    let isSettled = false;
    const settle = (verdict: Uint8Array) => {
      if (isSettled || !this.#wire.isConnected()) return; // said into a cut wire: lost, it comes again
      isSettled = true;
      this.#wire.connection.publish(address, verdict);
      if (this.#held.get(place.seq) === hold) this.#held.delete(place.seq);
      this.#pull();
    };
    return {
      ...parseDelivered(this.#stream, message, place),
      attempt: place.attempt,
      ack: () => settle(ACK),
      nak: (delayMs) => settle(encodeNak(delayMs)),
    };
  }

  /** Asks for as many messages as there is room for. */
  #pull(): void {
    if (this.#address === "" || this.#isStopped || !this.#wire.isConnected()) return;
    const room = this.#options.maxInFlight - this.#held.size - this.#requested;
    if (room <= 0 || (this.#requested > 0 && room < this.#pullPart)) return;
    this.#requested += room;
    const query = {
      batch: room,
      expires: PULL_EXPIRES_MS * NS_PER_MS,
      idle_heartbeat: HEARTBEAT_MS * NS_PER_MS,
    };
    const path = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${this.#options.durable}`;
    this.#wire.connection.publish(path, encodeBody(query), { reply: this.#address });
  }

  /** Frees the places of messages that the server no longer counts as ours. */
  #expire(): void {
    const now = this.#wire.clock.monotonic();
    this.#expiry = undefined;
    for (const [seq, { untilMs }] of this.#held) {
      if (untilMs > now) {
        this.#expiry = this.#wire.clock.setTimeout(() => this.#expire(), untilMs - now);
        break;
      }
      this.#held.delete(seq);
    }
    this.#pull();
  }
}

const encodeNak = (delayMs: number): Uint8Array =>
  new TextEncoder().encode(delayMs > 0 ? `-NAK {"delay":${Math.round(delayMs * NS_PER_MS)}}` : "-NAK");
