/**
 * What one actor must be, from the journal alone. Invariant: it knows only what was committed, in the journal's order, and
 * takes it by the same pure function as any replay.
 */
import type { ActorState, Outgoing } from "../../runtime/actor-state.ts";
import { encodeCore, newState } from "../../runtime/actor-state.ts";
import { addressOf, shardOf } from "../../runtime/address.ts";
import type { Address } from "../../runtime/address.ts";
import type { ActorStatus } from "../../runtime/api.ts";
import { applyPoison, replayInput } from "../../runtime/apply.ts";
import { ACCEPTED, type Input, Tag } from "../../runtime/envelope.ts";
import type { RunnableKind } from "../../runtime/runnable.ts";
import { thrownText } from "../../runtime/thrown.ts";

export interface Seen {
  readonly status: ActorStatus;
  readonly value: unknown;
  readonly context: unknown;
}

/** One committed input. */
export interface Row {
  readonly seq: number;
  readonly journal: string;
  readonly timeMs: number;
  readonly body: Uint8Array;
  readonly poison: string | null;
}

export interface Taken {
  readonly revision: number;
  readonly answer: Uint8Array;
}

export interface Sent {
  readonly to: string;
  /** Of the input that sent it. */
  readonly revision: number;
}

const idOf = (sender: string, seq: number): string => `${sender} ${seq}`;

/** A timer or a result of a state that was left. Said anew here: the auditor takes no word of what it judges. */
function isStale({ timers, invocations }: ActorState, { tag, sender, seq }: Input): boolean {
  if (tag === Tag.TimerFired) return timers.get(sender)?.generation !== seq;
  return tag === Tag.InvocationSettled && invocations.get(sender)?.startedBy !== seq;
}

export class ActorBook {
  readonly key: string;
  readonly address: Address;
  readonly shard: number;
  readonly kind: RunnableKind;
  readonly state: ActorState = newState();
  /** Index: revision - 1. */
  readonly rows: Row[] = [];
  readonly #seen: Seen[] = [];
  readonly #taken = new Map<string, Taken>();
  /** All that it ever sent, by receiver, in order; and the same by number. */
  readonly sent = new Map<string, Outgoing[]>();
  readonly #outgoing = new Map<number, Sent>();
  /** How many messages of each actor it has taken. */
  readonly heard = new Map<string, number>();
  /** Highest revision that anybody outside was shown. */
  shown = 0;
  /** What the stored snapshot covers, by journal position and by revision. */
  covers = 0;
  snapshotRevision = 0;
  historyRevision = 0;
  poisoned = 0;
  #core: { readonly revision: number; readonly bytes: Uint8Array } | undefined;

  constructor(key: string, kind: RunnableKind, shards: number) {
    this.key = key;
    this.address = addressOf(key);
    this.shard = shardOf(this.address.kind, this.address.id, shards);
    this.kind = kind;
  }

  get revision(): number {
    return this.rows.length;
  }

  /** Takes a committed input; the breach of a law, if it is one. */
  take(input: Input, row: Row): string | undefined {
    const { state, kind, address } = this;
    if (isStale(state, input)) return `the timer or result "${input.sender}" of ${input.seq} took effect though stale`;
    if (row.timeMs < state.timeMs) return `time went back from ${state.timeMs} to ${row.timeMs}`;
    const isMessage = input.tag === Tag.Tell || input.tag === Tag.Ask;
    const id = idOf(input.sender, input.seq);
    if (isMessage && this.#taken.has(id))
      return `message ${id} took effect twice, at revisions ${this.#taken.get(id)?.revision} and ${this.revision + 1}`;
    const timer = input.tag === Tag.TimerFired ? state.timers.get(input.sender) : undefined;
    if (timer !== undefined && row.timeMs < timer.dueAtMs)
      return `timer "${input.sender}" fired ${timer.dueAtMs - row.timeMs} ms early`;

    const sentBefore = state.outSeq;
    let answer: Uint8Array | null;
    try {
      answer =
        row.poison === null
          ? replayInput(kind, address, state, input, row.timeMs).answer
          : applyPoison(kind, address, state, input, row.timeMs, row.poison).answer;
    } catch (error) {
      return `committed ${input.event.type} cannot be replayed: ${thrownText(error)}`;
    }
    if (row.poison !== null) this.poisoned++;
    this.rows.push(row);
    const { snapshot, stopped } = state;
    this.#seen.push({
      status: stopped === null ? ((snapshot?.status ?? "active") as ActorStatus) : "stopped",
      value: snapshot?.value ?? null,
      context: (snapshot?.context as unknown) ?? null,
    });
    if (isMessage) this.#taken.set(id, { revision: this.revision, answer: answer ?? ACCEPTED });
    for (let seq = sentBefore + 1; seq <= state.outSeq; seq++) this.#send(state.outbox.get(seq) as Outgoing);
    // What was delivered is not in the journal: the book would only grow.
    state.outbox.clear();
    state.extraBytes = 0;
    return undefined;
  }

  taken(sender: string, seq: number): Taken | undefined {
    return this.#taken.get(idOf(sender, seq));
  }

  outgoing(seq: number): Sent | undefined {
    return this.#outgoing.get(seq);
  }

  /** The state after `revision` inputs. */
  at(revision: number): Seen | undefined {
    return this.#seen[revision - 1];
  }

  /** How many of its inputs the journal holds up to a position. */
  revisionAt(seq: number): number {
    let count = this.rows.length;
    while (count > 0 && (this.rows[count - 1] as Row).seq > seq) count--;
    return count;
  }

  /** What a snapshot of the latest revision must be, bit for bit. */
  core(): Uint8Array {
    if (this.#core?.revision !== this.revision)
      this.#core = { revision: this.revision, bytes: encodeCore(this.state, this.kind.version, this.kind.runner) };
    return this.#core.bytes;
  }

  get isAtRest(): boolean {
    return this.state.timers.size === 0 && this.state.invocations.size === 0;
  }

  #send(message: Outgoing): void {
    this.#outgoing.set(message.seq, { to: message.to, revision: this.revision });
    const list = this.sent.get(message.to);
    if (list === undefined) this.sent.set(message.to, [message]);
    else list.push(message);
  }
}
