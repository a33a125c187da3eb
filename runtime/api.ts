/** What users of the runtime hold: the client's and the node's face. Types only. */
import type { Names } from "../nats-config/subjects.ts";
import type { Address } from "./address.ts";
import type { ActorKind, EventOf } from "./define-actor.ts";
import type { PlacementReport } from "./explain.ts";
import type { Role, Shard } from "./families.ts";
import type { Health } from "./health.ts";
import type { DeadMark } from "./dead-letters.ts";
import type { Broker } from "./port.ts";
import type { Priority } from "./priority.ts";

export interface CallOptions {
  /** The whole call, repeats included, in ms. Default 10,000, at most 120,000. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Lane in the receiver's mailbox. Default `normal`. */
  readonly priority?: Priority;
  /**
   * Only for forwarders that number their messages themselves (a pump with the sequence of its stream): the receiver
   * takes each `(sender, seq)` once and forgets those below `low`.
   */
  readonly from?: { readonly sender: string; readonly seq: number; readonly low: number };
}

/** A kind by name, or the definition, which types the events. */
export type KindOf = string | ActorKind;
export type EventFor<K extends KindOf> = K extends ActorKind ? EventOf<K> : { readonly type: string };

export type ActorStatus = "active" | "done" | "error" | "stopped" | "quarantined";

/** The live, committed state of an actor. */
export interface ActorView {
  readonly kind: string;
  readonly id: string;
  readonly status: ActorStatus;
  /** XState's state value: a string, or an object for nested and parallel states. */
  readonly value: unknown;
  readonly context: unknown;
  readonly output?: unknown;
  /** Why it failed or was stopped. */
  readonly error?: string;
  /** Inputs applied so far. */
  readonly revision: number;
  readonly version: number;
  /** Node that answered. */
  readonly node: string;
  /** When the last input was accepted, in ms since 1970. */
  readonly updatedAtMs: number;
  /** The node's lease was not good: another node may have taken the actor and its state on. Only for who allows it. */
  readonly stale?: true;
  /** Of a stale one: until then the node was its actor's only owner for sure, in ms since 1970. */
  readonly staleSinceMs?: number;
}

export interface QueryOptions extends Pick<CallOptions, "deadlineMs" | "signal"> {
  /**
   * While the owner cannot prove that it still is one (an outage of JetStream, a partition), take the committed state in its
   * memory, marked `stale`. Default: wait for an owner.
   */
  readonly allowStale?: boolean;
}

export interface ListedActor {
  readonly kind: string;
  readonly id: string;
  /** Node that holds it in memory; null when passivated. */
  readonly node: string | null;
}

/** One of a listing by last change; `cursor` goes on after it. `node` is null unless it changed within seconds. */
export interface RecentActor extends ListedActor {
  readonly cursor: string;
}

export interface ActorPage {
  readonly limit: number;
  /** Of the last entry of the page before. */
  readonly cursor?: string;
}

/**
 * `alive` and `leaving`: it answered just now. `suspect`: it did not, and its connection is there: frozen, overloaded or cut off.
 * `dead`: nobody listens in its name, and only its record is left, for seconds.
 */
export type NodeState = "alive" | "leaving" | "suspect" | "dead";

interface NodeFacts {
  readonly name: string;
  readonly incarnation: string;
  readonly pid: number;
  readonly host: string;
  readonly version: string;
  /** What it hosts. */
  readonly kinds: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly roles: readonly Role[];
  /** Its share of the shards, beside those of the others. */
  readonly weight: number;
}

/** What a node says of itself. */
interface NodeLoad {
  readonly startedAtMs: number;
  readonly shards: readonly Shard[];
  readonly activations: number;
  readonly queued: number;
  /** Rounds and inputs committed since start. */
  readonly rounds: number;
  readonly inputs: number;
  readonly memoryBytes: number;
  /** Why it refuses messages just now (its journal, snapshots or dead letters find no room, its queues are full); null: it takes them. */
  readonly refusal: string | null;
  /** Null in the first second. */
  readonly health: Health | null;
}

export type LiveNodeInfo = NodeFacts & NodeLoad & { readonly state: "alive" | "leaving" };
/** What is not known of a node that did not answer is null. */
export type NodeInfo =
  | LiveNodeInfo
  | (NodeFacts & { readonly [K in keyof NodeLoad]: null } & { readonly state: "suspect" | "dead" });

/** All that is given must hold. */
export interface NodeFilter {
  /** Default: all but `dead`. */
  readonly states?: readonly NodeState[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly role?: Role;
  /** Hosts this kind. */
  readonly kind?: string;
  /** This version, or one that begins with it: `1.2` passes `1.2.7`. */
  readonly version?: string;
}

export interface HistoryEntry {
  /** Number of the input in the actor's life, 1 for the first. */
  readonly revision: number;
  /** Place in the journal. */
  readonly seq: number;
  readonly timeMs: number;
  readonly sender: string;
  readonly event: { readonly type: string; readonly [key: string]: unknown };
  /** Set when the transition threw: the message went to the dead letters. */
  readonly poison?: string;
}

export interface DeadLetter {
  readonly seq: number;
  readonly reason: string;
  readonly kind: string;
  readonly id: string;
  readonly cause: string;
  readonly timeMs: number;
  readonly sender: string;
  readonly event: unknown;
  /** Number of the poison input in its actor's life: a quarantine names its letter `<kind>/<id>@<revision>`. */
  readonly revision?: number;
  /** What the message was poison to, when supervision replaced it: value, context and revision. Not in lists. */
  readonly state?: unknown;
  /** Set once somebody has seen to it. */
  readonly mark?: DeadMark;
}

/** Who asks for something, and why: both are kept. */
export interface Audit {
  readonly by: string;
  readonly why: string;
}

export interface RetryOptions extends Audit {
  /** Instead of the letter's own event. */
  readonly event?: { readonly type: string; readonly [key: string]: unknown };
}

export interface Client {
  readonly names: Names;
  readonly broker: Broker;
  readonly shards: number;
  /**
   * Sends; resolves when journaled. All calls throw: {@link AddressError}, {@link PayloadError}, {@link UnknownKindError},
   * {@link UnknownEventError}, {@link ActorDoneError}, {@link PoisonMessageError}, {@link StateError} (nothing changed), {@link DeadlineError} (outcome unknown), {@link AbortedError}, {@link BusyError} (too many calls in flight here).
   */
  tell<K extends KindOf>(kind: K, id: string, event: EventFor<K>, options?: CallOptions): Promise<void>;
  /** Durable call: resolves with the actor's reply once its input is committed; exactly once however often it is repeated. */
  ask<K extends KindOf>(kind: K, id: string, event: EventFor<K>, options?: CallOptions): Promise<unknown>;
  /** Reads without a write. @throws {ActorNotFoundError} No message ever reached it. */
  query(kind: KindOf, id: string, options?: QueryOptions): Promise<ActorView>;
  /** The state now and after every commit that changes it, latest wins; survives fail-over. Ends with the signal. */
  watch(kind: KindOf, id: string, options: { readonly signal: AbortSignal }): AsyncIterable<ActorView>;
  /** Fires the AbortSignal of the actor's running invocations at once, then sends `event` in the critical lane. */
  abort(kind: KindOf, id: string, event: { readonly type: string }, options?: CallOptions): Promise<void>;
  /** Actors of a kind: those in memory and those with a snapshot. At most {@link LIST_LIMIT}. */
  list(kind: string): Promise<ListedActor[]>;
  /** Actors of a kind, last changed first; fewer than asked for are the end. Costs what the page does. @throws {PayloadError} No such cursor. */
  recent(kind: string, page: ActorPage): Promise<RecentActor[]>;
  /** The nodes that pass the filter: asked just now, one second at most. */
  nodes(filter?: NodeFilter): Promise<NodeInfo[]>;
  /** Why an actor lives where it does. @throws {UnknownKindError} */
  explainPlacement(kind: string, id: string): Promise<PlacementReport>;
  /** Every input of an actor that the history still has, oldest first, without gaps from `fromRevision`. */
  history(kind: string, id: string): Promise<HistoryEntry[]>;
  deadLetters(options?: { readonly limit?: number }): Promise<DeadLetter[]>;
  /** One dead letter, with the state that was replaced. @throws {LetterNotFoundError} */
  deadLetter(seq: number): Promise<DeadLetter>;
  /**
   * Hands a dead letter's event to its actor again, as from its sender, once; resolves with the reply. An actor that is quarantined for
   * this letter goes on. @throws {DeadLetterError} Seen to before, or no actor's. @throws {PoisonMessageError} Poison again: a new letter.
   */
  retryDeadLetter(seq: number, options: RetryOptions): Promise<unknown>;
  /** Marks a dead letter as seen to; an actor that is quarantined for it goes on. @throws {DeadLetterError} Seen to before. */
  skipDeadLetter(seq: number, audit: Audit): Promise<void>;
  /** Lets an actor go on that was quarantined, stopped or failed over, with its timers and invocations of then. */
  resume(kind: KindOf, id: string, audit: Audit): Promise<unknown>;
  close(): Promise<void>;
}

export interface Node {
  readonly name: string;
  readonly incarnation: string;
  /** A client on the node's own connection. */
  readonly client: Client;
  /** Shards that this node serves just now. */
  ownedShards(): readonly Shard[];
  /** Where an actor lives, wherever that is. */
  shardOf(address: Address): Shard;
  /** Whether it is here that an actor lives, or would be heard of first while its shard is still to come. */
  owns(address: Address): boolean;
  info(): LiveNodeInfo;
  /** Called when shards were gained (after their recovery) or lost. */
  onShards(listener: (gained: readonly Shard[], lost: readonly Shard[]) => void): void;
  /** Drains: stops taking, commits, snapshots, releases its shards, leaves. Idempotent. */
  stop(): Promise<void>;
}
