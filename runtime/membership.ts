/**
 * Who is alive: one key with a time to live per node incarnation. Invariant: by its own monotonic clock a node stops acting
 * before others can see its lease end; the lease decides only when others try, the seal of its journal decides who owns.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import { RevisionConflictError, SealedError, TroupeError } from "./errors.ts";
import type { Role } from "./families.ts";
import {
  CLUSTER_HEARTBEAT_MS,
  LEASE_RENEW_MS,
  LEASE_RENEW_TIMEOUT_MS,
  LEASE_SELF_FENCE_MS,
  LEASE_TTL_S,
} from "./limits.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";
import { Silence } from "./silence.ts";
import type { KindVersions } from "./versions.ts";

/** What a node says of itself when it joins. */
export interface MemberFacts {
  readonly name: string;
  readonly incarnation: string;
  /** Name of its connection: the server tells others when it ends. */
  readonly connection: string;
  readonly pid: number;
  readonly host: string;
  readonly kinds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly Role[];
  readonly weight: number;
  readonly version: string;
  /** Of its kinds, where above 1. */
  readonly versions?: KindVersions;
  /** It gives its shards away: nothing is placed on it. */
  readonly isLeaving?: true;
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
  const { name, incarnation, kinds, labels, roles, weight, version } = value as Partial<MemberFacts>;
  const isOwn = typeof name === "string" && typeof incarnation === "string" && memberKey({ name, incarnation }) === key;
  const isWhole = Array.isArray(kinds) && typeof labels === "object" && labels !== null && Array.isArray(roles);
  return isOwn && isWhole && typeof version === "string" && Number(weight) > 0 ? (value as MemberFacts) : null;
}

/** Nodes of a cluster at most: bounds the first read of the membership. */
export const MAX_NODES = 1_024;

export class Membership {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #names: Names;
  readonly #facts: MemberFacts;
  readonly #onChange: () => void;
  readonly #onSilent: (key: string) => void;
  readonly #onLapse: () => void;
  readonly #onLost: (error: unknown) => void;
  readonly #silence: Silence;
  /** Of each member's last renewal that came by. */
  readonly #revisions = new Map<string, number>();
  /** A renewal succeeded on the present connection. */
  #isProven = false;
  #status: Subscription | undefined;
  readonly #members = new Map<string, MemberFacts>();
  #value: Uint8Array;
  #renewing: Promise<void> | undefined;
  #revision = 0;
  #goodUntilMs = 0;
  #timer: TimerHandle | undefined;
  #lapseTimer: TimerHandle | undefined;
  #following: Subscription | undefined;
  #left = false;

  constructor(options: {
    broker: Broker;
    clock: Clock;
    names: Names;
    facts: MemberFacts;
    onChange: () => void;
    /** A member's renewals stay away. Told again and again until it is evicted. */
    onSilent: (key: string) => void;
    /** The lease is not good any more: what runs under it must stop now. */
    onLapse: () => void;
    onLost: (error: unknown) => void;
  }) {
    this.#broker = options.broker;
    this.#clock = options.clock;
    this.#names = options.names;
    this.#facts = options.facts;
    this.#onChange = options.onChange;
    this.#onSilent = options.onSilent;
    this.#onLapse = options.onLapse;
    this.#onLost = options.onLost;
    this.#silence = new Silence(memberKey(options.facts));
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

  /** Last moment at which nobody else could have taken over, in ms since 1970. */
  get provenAtMs(): number {
    return this.#goodUntilMs - LEASE_SELF_FENCE_MS + this.#clock.now() - this.#clock.monotonic();
  }

  /**
   * False also after a loss of the connection, until a renewal: others may take over as soon as the server tells them. What runs
   * may go on meanwhile: it runs at least once; but an answer must not show what others have overtaken.
   */
  get mayAnswer(): boolean {
    return this.#isProven && this.isGood;
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
    this.#extend(sentAt);
    this.#status = this.#broker.onStatus((status) => {
      if (status !== "connected") this.#isProven = false;
    });
    this.#members.set(memberKey(this.#facts), this.#facts);
    this.#following = await this.#broker.follow(
      this.#names.kv.nodes.stream,
      { subjects: [this.#names.kv.nodes.key(">")], from: "last", heartbeatMs: CLUSTER_HEARTBEAT_MS },
      (message) => {
        if (this.#observe(message)) this.#onChange();
        this.#listen(message);
      },
    );
    this.#schedule(sentAt);
  }

  /** Of the member's last renewal that this node saw, 0 if it saw none. */
  revisionOf(key: string): number {
    return this.#revisions.get(key) ?? 0;
  }

  /**
   * Ends another incarnation's lease, if it was not renewed after `revision`, or without one at once. Whoever takes its shards
   * seals its journal first.
   * @throws {RevisionConflictError} It was, or somebody else has ended it.
   */
  async evict(key: string, revision?: number): Promise<void> {
    await this.#end(key, revision === undefined ? {} : { expectedLastSubjectSeq: revision });
    this.#members.delete(key);
    this.#revisions.delete(key);
    this.#silence.forget(key);
  }

  /** Tells the others to take what this node is about to release. */
  async announceLeave(): Promise<void> {
    await this.#renewing;
    this.#clock.clearTimeout(this.#timer);
    const facts = { ...this.#facts, isLeaving: true as const };
    this.#value = Buffer.from(JSON.stringify(facts));
    this.#members.set(memberKey(facts), facts);
    this.#renewing = this.#renew();
    await this.#renewing;
  }

  async leave(): Promise<void> {
    this.stop();
    await this.#end(memberKey(this.#facts), {});
  }

  /** Stops renewing; the lease ends by itself. */
  stop(): void {
    this.#left = true;
    this.#goodUntilMs = 0;
    this.#clock.clearTimeout(this.#timer);
    this.#clock.clearTimeout(this.#lapseTimer);
    this.#following?.unsubscribe();
    this.#status?.unsubscribe();
  }

  get #subject(): string {
    return this.#names.kv.nodes.key(memberKey(this.#facts));
  }

  #schedule(lastSentAt: number): void {
    if (this.#left) return;
    const pause = lastSentAt + LEASE_RENEW_MS - this.#clock.monotonic(); // at an even beat, however long the answer took
    this.#timer = this.#clock.setTimeout(
      () => {
        this.#renewing = this.#renew();
      },
      Math.max(0, pause),
    );
  }

  #extend(sentAt: number): void {
    if (this.#left) return;
    this.#isProven = this.#broker.status === "connected"; // no answer of a lost connection comes after its end
    this.#goodUntilMs = sentAt + LEASE_SELF_FENCE_MS;
    this.#lapseTimer ??= this.#awaitLapse();
  }

  /** One timer for many renewals: when it fires it waits for the rest, and there is none only after the last one. */
  #awaitLapse(): TimerHandle {
    return this.#clock.setTimeout(() => {
      this.#lapseTimer = this.isGood ? this.#awaitLapse() : undefined;
      if (!this.isGood) this.#onLapse();
    }, this.#goodUntilMs - this.#clock.monotonic());
  }

  async #renew(): Promise<void> {
    const sentAt = this.#clock.monotonic();
    try {
      this.#revision = await this.#broker.append(this.#subject, this.#value, {
        expectedLastSubjectSeq: this.#revision,
        ttlS: LEASE_TTL_S,
        timeoutMs: LEASE_RENEW_TIMEOUT_MS,
      });
      this.#extend(sentAt);
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
    this.#schedule(sentAt);
  }

  /** After a lost acknowledgement the last value is ours: take its revision. False: the lease is gone. */
  async #adopt(): Promise<boolean> {
    try {
      const last = await this.#broker.getLast(this.#names.kv.nodes.stream, this.#subject);
      if (last === null || last.data.length === 0) return false; // nobody else writes a value under this key
      this.#revision = last.seq;
      return true;
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) return true; // unknown: the next renewal tells
      throw error;
    }
  }

  async #end(key: string, options: { readonly expectedLastSubjectSeq?: number }): Promise<void> {
    const headers = { "KV-Operation": "DEL" };
    await this.#broker.append(this.#names.kv.nodes.key(key), new Uint8Array(0), { headers, ttlS: 60, ...options });
  }

  /** Takes a message as a sign of life. */
  #listen({ subject }: StoredMessage): void {
    const key = subject.slice(this.#names.kv.nodes.key("").length);
    if (this.#members.has(key)) for (const silent of this.#silence.hear(key)) this.#onSilent(silent);
    else this.#silence.forget(key);
  }

  /** True if the set of members changed. */
  #observe(message: StoredMessage): boolean {
    const key = message.subject.slice(this.#names.kv.nodes.key("").length);
    if (message.data.length === 0) {
      this.#revisions.delete(key);
      return this.#members.delete(key);
    }
    const facts = readMember(key, message.data);
    const known = this.#members.get(key);
    if (facts !== null) this.#revisions.set(key, message.seq);
    if (facts === null || (known !== undefined && known.isLeaving === facts.isLeaving)) return false;
    this.#members.set(key, facts);
    return true;
  }
}
