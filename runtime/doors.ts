/**
 * Where messages, questions, control and wake-ups for the actors of owned shards come in. Invariant: nothing comes in for a shard
 * before it is open or after it is closed; what is for a shard of a kind's own, elsewhere, is passed on.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { keyOf } from "./address.ts";
import { decode, encode } from "./codec.ts";
import type { Engine } from "./engine.ts";
import { encodeError } from "./envelope.ts";
import { BusyError, PayloadError, TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { isInbox } from "./inbox.ts";
import type { KindRegistry } from "./kind-registry.ts";
import type { Membership } from "./membership.ts";
import type { Broker, InboundMessage, StoredMessage, Subscription } from "./port.ts";
import type { Query } from "./queries.ts";
import { type PassedOn, Relay } from "./relay.ts";
import type { ShardTable } from "./shard-table.ts";

export interface DoorsOptions {
  readonly broker: Broker;
  readonly names: Names;
  readonly log: Logger;
  readonly registry: KindRegistry;
  readonly table: ShardTable;
  readonly membership: Membership;
  readonly engine: Engine;
  /** A shard came to be: somebody should take it. */
  readonly onCreated: () => void;
}

export class Doors {
  readonly #o: DoorsOptions;
  readonly #relay: Relay;
  readonly #subscriptions = new Map<Shard, Subscription[]>();
  #wakes: { readonly shards: Set<Shard>; readonly subscription: Subscription }[] = [];

  constructor(options: DoorsOptions) {
    this.#o = options;
    this.#relay = new Relay({ ...options, members: () => options.membership.members });
  }

  /** Begins delivery. May be called again after it failed. */
  async open(shards: readonly Shard[]): Promise<void> {
    const { broker, names } = this.#o;
    for (const shard of shards) {
      if (this.#subscriptions.has(shard)) continue; // of an attempt that failed further down
      this.#subscriptions.set(shard, [
        broker.subscribe(names.actOfShard(shard), (message) => this.#onMessage(message)),
        broker.subscribe(names.queryOfShard(shard), (message) => this.#onQuery(message)),
        broker.subscribe(names.controlOfShard(shard), (message) => this.#onControl(message)),
      ]);
    }
    broker.publish(names.opened, encode([...shards]));
    const subjects = shards.map((shard) => names.wakeOfShard(shard));
    const subscription = await broker.follow(names.stream.wake, { subjects, from: "all" }, (message) =>
      this.#onWake(message),
    );
    this.#wakes.push({ shards: new Set(shards), subscription });
  }

  closeAll(): void {
    this.close([...this.#subscriptions.keys()]);
  }

  close(shards: readonly Shard[]): void {
    for (const shard of shards) {
      for (const subscription of this.#subscriptions.get(shard) ?? []) subscription.unsubscribe();
      this.#subscriptions.delete(shard);
    }
    for (const wake of this.#wakes) for (const shard of shards) wake.shards.delete(shard);
    for (const wake of this.#wakes) if (wake.shards.size === 0) wake.subscription.unsubscribe();
    this.#wakes = this.#wakes.filter((wake) => wake.shards.size > 0);
  }

  #onMessage(message: InboundMessage): void {
    const { kind, id } = partsOf(message.subject);
    const respond = this.#answerTo(message);
    // The connection's buffer is only lent, and the body lives on in the round and the history.
    const body = Buffer.from(message.data);
    const shard = this.#elsewhere(kind, id);
    if (shard === undefined) this.#o.engine.receive(kind, id, body, respond);
    else this.#passOn(shard, { lane: "act", kind, id, body }, respond);
  }

  #onQuery(message: InboundMessage): void {
    const { kind, id } = partsOf(message.subject);
    const respond = this.#answerTo(message);
    try {
      const query = queryIn(message.data);
      if (!this.#o.membership.mayAnswer && query.stale !== true) return; // may be stale: somebody else may own the shard
      const shard = this.#elsewhere(kind, id);
      if (shard === undefined) this.#o.engine.queries.ask(kind, id, query, respond);
      else this.#passOn(shard, { lane: "query", kind, id, body: Buffer.from(message.data) }, respond);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
  }

  #onControl(message: InboundMessage): void {
    const { kind, id } = partsOf(message.subject);
    const respond = this.#answerTo(message);
    const body = Buffer.from(message.data);
    const shard = this.#elsewhere(kind, id);
    if (shard === undefined) this.#o.engine.control(kind, id, body, respond);
    else this.#passOn(shard, { lane: "control", kind, id, body }, respond);
  }

  /** The shard of its kind's own, elsewhere, in which the actor lives; undefined: it lives here. */
  #elsewhere(kind: string, id: string): string | undefined {
    const shard = this.#o.registry.shardOf(kind, id);
    return typeof shard === "number" || this.#o.engine.owned.has(shard) ? undefined : shard;
  }

  #passOn(shard: string, message: PassedOn, respond: (answer: Uint8Array) => void): void {
    void this.#relay.pass(shard, message).then(respond);
  }

  #onWake(message: StoredMessage): void {
    const { kind, id } = partsOf(message.subject);
    try {
      // The message stays until the actor leaves memory again: by then its timers are stored, or scheduled anew.
      const activation = this.#o.engine.activate(kind, id);
      activation.wakeSeq = message.seq;
      if (activation.phase === "loading") this.#o.engine.unwoken.add(activation.key); // the stream does not say it again
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      if (error instanceof BusyError) this.#o.engine.unwoken.add(keyOf(kind, id));
      else if (!error.retryable) this.#o.log.error({ err: error, kind, id }, "Actor cannot be woken for its timer");
    }
  }

  #answerTo({ reply }: InboundMessage): (answer: Uint8Array) => void {
    if (reply === undefined || !isInbox(reply)) return () => undefined;
    const { broker } = this.#o;
    return (answer) => broker.answer(reply, answer);
  }
}

/** Subjects to actors are `<ns>.<lane>.<shard>.<kind>.<id>`: neither part holds a dot. */
function partsOf(subject: string): { kind: string; id: string } {
  const end = subject.lastIndexOf(".");
  return { kind: subject.slice(subject.lastIndexOf(".", end - 1) + 1, end), id: subject.slice(end + 1) };
}

/** @throws {PayloadError} Not a query. */
function queryIn(data: Uint8Array): Query {
  if (data.length === 0) return {};
  const query = decode(data) as Query | null;
  const { watch, save, stale } = query ?? {};
  const isValid =
    (watch === undefined || (typeof watch === "string" && isInbox(watch))) &&
    [save, stale].every((mark) => mark === undefined || mark === true);
  if (!isValid)
    throw new PayloadError(
      "The query is malformed: send nothing, { watch: <inbox> }, { save: true } or { stale: true }",
    );
  return {
    ...(watch !== undefined && { watch }),
    ...(save !== undefined && { save }),
    ...(stale !== undefined && { stale }),
  };
}
