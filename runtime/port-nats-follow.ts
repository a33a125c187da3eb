/**
 * A follower of a stream: an ordered push consumer without acknowledgements. Invariant: its listener sees each message once,
 * in order, without a gap: a delivery out of turn is not handed on, and a new consumer begins after the last that was.
 */
import type { Msg } from "nats";
import type { FollowOptions, StoredMessage } from "./port.ts";
import { HEARTBEAT_MS, type InboxOwner, ServerInbox, type Wire } from "./port-nats-inbox.ts";
import { parseDelivered, parsePlace } from "./port-nats-messages.ts";

const NS_PER_MS = 1_000_000;
/** The server forgets the consumer this long after the last sign of interest, in ms. */
const FORGET_AFTER_MS = 10_000;
/** Status of heartbeats and flow control. */
const IDLE = 100;
const EMPTY = new Uint8Array(0);

interface Created {
  readonly num_pending: number;
  readonly delivered: { readonly consumer_seq: number };
}

export class NatsFollower implements InboxOwner {
  readonly inbox: ServerInbox;
  readonly heartbeatMs: number;
  readonly #wire: Wire;
  readonly #stream: string;
  readonly #options: FollowOptions;
  readonly #onMessage: (message: StoredMessage) => void;
  /** Sequence of the last message handed on, or that it begins after. */
  #cursor = 0;
  /** Under `last`: everything up to here is known by the last messages alone. Undefined once those were seen. */
  #tipsUpTo: number | undefined;
  /** What the present consumer delivered so far. */
  #deliverySeq = 0;
  #hasBegun = false;

  constructor(wire: Wire, stream: string, options: FollowOptions, onMessage: (message: StoredMessage) => void) {
    this.#wire = wire;
    this.#stream = stream;
    this.#options = options;
    this.#onMessage = onMessage;
    this.heartbeatMs = options.heartbeatMs ?? HEARTBEAT_MS;
    this.inbox = new ServerInbox(wire, this);
  }

  async attach(address: string, timeoutMs: number): Promise<void> {
    if (!this.#hasBegun) await this.#begin();
    this.#deliverySeq = 0;
    const start =
      this.#tipsUpTo === undefined
        ? { deliver_policy: "by_start_sequence", opt_start_seq: this.#cursor + 1 }
        : { deliver_policy: "last_per_subject" };
    const config = {
      ...start,
      deliver_subject: address,
      filter_subjects: [...new Set(this.#options.subjects)],
      ack_policy: "none",
      max_deliver: 1,
      flow_control: true,
      idle_heartbeat: this.heartbeatMs * NS_PER_MS,
      inactive_threshold: FORGET_AFTER_MS * NS_PER_MS,
      mem_storage: true,
      num_replicas: 1,
    };
    const body = { stream_name: this.#stream, config, action: "create" };
    const created = await this.#wire.api.call<Created>(`CONSUMER.CREATE.${this.#stream}`, body, timeoutMs);
    if (created.num_pending === 0 && created.delivered.consumer_seq === 0) this.#endTips();
  }

  receive(message: Msg): void {
    const status = message.data.length === 0 ? (message.headers?.code ?? 0) : 0;
    if (status === IDLE) this.#onIdle(message);
    else if (status !== 0) this.inbox.reopen();
    else this.#onDelivery(message);
  }

  expectsHeartbeat(): boolean {
    return true;
  }

  resume(): void {
    this.inbox.resume();
  }

  stop(): void {
    this.inbox.close();
  }

  /** Decides where to begin, by the leader's word. */
  async #begin(): Promise<void> {
    const { from } = this.#options;
    if (from !== "all") {
      const lastSeq = await this.#wire.reads.lastSeq(this.#stream);
      if (from === "new") this.#cursor = lastSeq;
      else this.#tipsUpTo = lastSeq;
    }
    this.#hasBegun = true;
  }

  #onDelivery(message: Msg): void {
    const place = parsePlace(message.reply ?? "");
    if (place.deliverySeq !== this.#deliverySeq + 1) {
      this.inbox.reopen(0);
      return;
    }
    this.#deliverySeq = place.deliverySeq;
    const isNew = place.seq > this.#cursor; // a second look at the last messages begins with known ones
    if (isNew) this.#cursor = place.seq;
    if (this.#tipsUpTo !== undefined && (place.pending === 0 || place.seq > this.#tipsUpTo)) this.#endTips();
    if (isNew) this.#onMessage(parseDelivered(this.#stream, message, place));
  }

  #onIdle(message: Msg): void {
    const stalledAt = message.headers?.get("Nats-Consumer-Stalled");
    const answerTo = message.reply || stalledAt;
    if (answerTo && this.#wire.isConnected()) this.#wire.connection.publish(answerTo, EMPTY);
    const delivered = message.headers?.get("Nats-Last-Consumer");
    if (delivered && Number(delivered) !== this.#deliverySeq) this.inbox.reopen(0);
  }

  #endTips(): void {
    if (this.#tipsUpTo === undefined) return;
    this.#cursor = Math.max(this.#cursor, this.#tipsUpTo);
    this.#tipsUpTo = undefined;
  }
}
