/**
 * Who is alive: one key with a time to live per node incarnation. Invariant: by its own monotonic clock a node stops acting
 * before others can see its lease end; the lease decides only when others try, the seal of its journal decides who owns.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import { RevisionConflictError, SealedError, TroupeError } from "./errors.ts";
import { LEASE_RENEW_MS, LEASE_SELF_FENCE_MS, LEASE_TTL_S } from "./limits.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";

/** What a node says of itself when it joins. */
export interface MemberFacts {
  readonly name: string;
  readonly incarnation: string;
  readonly pid: number;
  readonly host: string;
  readonly kinds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Key of an incarnation: `<name>.<incarnation>`. */
export const memberKey = (facts: { readonly name: string; readonly incarnation: string }): string =>
  `${facts.name}.${facts.incarnation}`;

/** What stands in the bucket under `key`; null: nothing that a node would write. */
export function readMember(key: string, data: Uint8Array): MemberFacts | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString());
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { name, incarnation } = value as Partial<MemberFacts>;
  const isOwn = typeof name === "string" && typeof incarnation === "string" && memberKey({ name, incarnation }) === key;
  return isOwn ? (value as MemberFacts) : null;
}

/** Nodes of a cluster at most: bounds the first read of the membership. */
export const MAX_NODES = 1_024;

export class Membership {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #names: Names;
  readonly #facts: MemberFacts;
  readonly #onChange: () => void;
  readonly #onLost: (error: unknown) => void;
  readonly #members = new Map<string, MemberFacts>();
  readonly #value: Uint8Array;
  #revision = 0;
  #goodUntilMs = 0;
  #timer: TimerHandle | undefined;
  #following: Subscription | undefined;
  #left = false;

  constructor(options: {
    broker: Broker;
    clock: Clock;
    names: Names;
    facts: MemberFacts;
    onChange: () => void;
    onLost: (error: unknown) => void;
  }) {
    this.#broker = options.broker;
    this.#clock = options.clock;
    this.#names = options.names;
    this.#facts = options.facts;
    this.#onChange = options.onChange;
    this.#onLost = options.onLost;
    this.#value = Buffer.from(JSON.stringify(options.facts));
  }

  /** Live incarnations, this one included once it has joined. */
  get members(): ReadonlyMap<string, MemberFacts> {
    return this.#members;
  }

  /** False when the lease was not renewed in time: the node must not act or answer. */
  get isGood(): boolean {
    return this.#clock.monotonic() < this.#goodUntilMs;
  }

  /** Reads who is there, without joining. */
  async look(): Promise<void> {
    const { stream, key } = this.#names.kv.nodes;
    for (const message of await this.#broker.readLast(stream, key(">"), MAX_NODES)) this.#observe(message);
  }

  async join(): Promise<void> {
    const sentAt = this.#clock.monotonic();
    this.#revision = await this.#broker.append(this.#subject, this.#value, {
      expectedLastSubjectSeq: 0,
      ttlS: LEASE_TTL_S,
    });
    this.#goodUntilMs = sentAt + LEASE_SELF_FENCE_MS;
    this.#members.set(memberKey(this.#facts), this.#facts);
    this.#following = await this.#broker.follow(
      this.#names.kv.nodes.stream,
      { subjects: [this.#names.kv.nodes.key(">")], from: "last" },
      (message) => {
        if (this.#observe(message)) this.#onChange();
      },
    );
    this.#schedule();
  }

  /** Ends another incarnation's lease, after its journal was sealed. */
  async evict(key: string): Promise<void> {
    await this.#broker.append(this.#names.kv.nodes.key(key), new Uint8Array(0), {
      headers: { "KV-Operation": "DEL" },
      ttlS: 60,
    });
    this.#members.delete(key);
  }

  async leave(): Promise<void> {
    this.stop();
    await this.evict(memberKey(this.#facts));
  }

  /** Stops renewing; the lease ends by itself. */
  stop(): void {
    this.#left = true;
    this.#goodUntilMs = 0;
    this.#clock.clearTimeout(this.#timer);
    this.#following?.unsubscribe();
  }

  get #subject(): string {
    return this.#names.kv.nodes.key(memberKey(this.#facts));
  }

  #schedule(): void {
    if (!this.#left) this.#timer = this.#clock.setTimeout(() => void this.#renew(), LEASE_RENEW_MS);
  }

  async #renew(): Promise<void> {
    const sentAt = this.#clock.monotonic();
    try {
      this.#revision = await this.#broker.append(this.#subject, this.#value, {
        expectedLastSubjectSeq: this.#revision,
        ttlS: LEASE_TTL_S,
        timeoutMs: LEASE_RENEW_MS,
      });
      this.#goodUntilMs = sentAt + LEASE_SELF_FENCE_MS;
    } catch (error) {
      if (this.#left) return;
      if (error instanceof RevisionConflictError && !(await this.#adopt())) {
        this.#onLost(
          new SealedError(`The lease of node "${this.#facts.name}" ended: others may have taken its shards`, {
            cause: error,
          }),
        );
        return;
      }
      if (!(error instanceof TroupeError)) throw error; // otherwise: no answer yet; the monotonic clock fences meanwhile
    }
    this.#schedule();
  }

  /** After a lost acknowledgement the last value is ours: take its revision. False: the lease is gone. */
  async #adopt(): Promise<boolean> {
    try {
      const last = await this.#broker.getLast(this.#names.kv.nodes.stream, this.#subject);
      if (last === null || Buffer.compare(last.data, this.#value) !== 0) return false;
      this.#revision = last.seq;
      return true;
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) return true; // unknown: the next renewal tells
      throw error;
    }
  }

  /** True if the set of members changed. */
  #observe(message: StoredMessage): boolean {
    const key = message.subject.slice(this.#names.kv.nodes.key("").length);
    if (message.data.length === 0) return this.#members.delete(key);
    if (this.#members.has(key)) return false;
    const facts = readMember(key, message.data);
    if (facts === null) return false;
    this.#members.set(key, facts);
    return true;
  }
}
