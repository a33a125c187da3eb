/**
 * The live copy of an actor in the memory of its shard's owner. Invariant: `state` reflects every input up to and
 * including `lastRound`; `uncovered` holds those that no stored snapshot covers.
 */
import type { Address } from "./address.ts";
import type { Shard } from "./families.ts";
import type { ActorState } from "./actor-state.ts";
import type { ActorView } from "./api.ts";
import type { TimerHandle } from "./clock.ts";
import { keyOf } from "./address.ts";
import { statusOf } from "./hold.ts";
import { Mailbox } from "./mailbox.ts";
import type { Round } from "./round.ts";
import type { RunnableKind } from "./runnable.ts";
import { plainError } from "./thrown.ts";
import { Uncovered } from "./uncovered.ts";

export interface Watcher {
  /** Monotonic ms. */
  expiresAtMs: number;
}

export class Activation {
  readonly address: Address;
  readonly key: string;
  readonly shard: Shard;
  readonly kind: RunnableKind;
  readonly mailbox = new Mailbox();
  /** `loading`: letters wait; `live`; `gone`: passivated or lost, takes nothing more. */
  phase: "loading" | "live" | "gone" = "loading";
  /** Its shard is leaving: nothing is taken any more. */
  isFrozen = false;
  state!: ActorState;

  /** The round that holds its latest input. */
  lastRound: Round | null = null;
  readonly uncovered = new Uncovered();
  /** Monotonic ms when it became dirty; 0 when a snapshot covers all. */
  dirtySinceMs = 0;
  snapshotDue = false;
  saving = false;
  /** Journal sequence that the stored snapshot covers. */
  coveredSeq = 0;
  /** Stream sequence of the stored snapshot; 0: none. */
  snapshotSeq = 0;
  /** Dead letters on their way: what they stand for must not be covered before they are stored. */
  unfiled = 0;
  /** The stored snapshot names messages that have been acknowledged since: it must be written anew before passivation. */
  savedOutbox = 0;

  /** Revision up to which its inputs are committed. */
  committedRevision = 0;
  /** Messages up to this number may leave: their round is committed. */
  releasableSeq = 0;
  sentSeq = 0;
  /** Place of the wake-up that brought it into memory; 0: none. */
  wakeSeq = 0;
  queued = false;
  lastUsedMs = 0;
  /** How far its time, which never goes back, is ahead of this node's clock, in ms: a former owner's clock may have been fast. */
  aheadMs = 0;
  timerHandle: TimerHandle | undefined;
  readonly running = new Map<string, { readonly startedBy: number; readonly controller: AbortController }>();
  watchers: Map<string, Watcher> | null = null;

  constructor(address: Address, shard: Shard, kind: RunnableKind) {
    this.address = address;
    this.key = keyOf(address.kind, address.id);
    this.shard = shard;
    this.kind = kind;
  }

  /** Takes the stored state, or a new one. */
  begin(state: ActorState, stored: { readonly seq: number; readonly covers: number } | null): void {
    this.state = state;
    this.snapshotSeq = stored?.seq ?? 0;
    this.coveredSeq = stored?.covers ?? 0;
    this.savedOutbox = state.outbox.size;
  }

  /** Its time, of which the next input is, in ms; `nowMs`: by this node's clock. */
  timeAt(nowMs: number): number {
    return Math.max(this.state.timeMs, nowMs + this.aheadMs);
  }

  get isBusy(): boolean {
    const { outbox, invocations, timers } = this.state;
    return outbox.size > 0 || invocations.size > 0 || timers.size > 0 || this.unfiled > 0;
  }

  get isCommitted(): boolean {
    return this.lastRound === null || this.lastRound.seq > 0;
  }

  /** False once no watcher is left that renews; the others are forgotten. `nowMs` is monotonic. */
  isWatched(nowMs: number): boolean {
    for (const [inbox, { expiresAtMs }] of this.watchers ?? []) if (expiresAtMs < nowMs) this.watchers?.delete(inbox);
    return (this.watchers?.size ?? 0) > 0;
  }

  /** Runs `fn` when everything that the state now reflects is committed. */
  whenCommitted(fn: () => void): void {
    if (this.lastRound === null) fn();
    else this.lastRound.whenCommitted(fn);
  }

  view(node: string): ActorView {
    const { snapshot, revision, timeMs, stopped } = this.state;
    const status = statusOf(this.state);
    const base = { ...this.address, revision, version: this.kind.version, node, updatedAtMs: timeMs };
    if (snapshot === null)
      return {
        ...base,
        status,
        value: null,
        context: null,
        ...(stopped !== null && { error: stopped }),
      };
    const error = stopped ?? (snapshot.status === "error" ? plainError(snapshot.error).message : undefined);
    return {
      ...base,
      status,
      value: snapshot.value,
      context: snapshot.context as unknown,
      ...(snapshot.output !== undefined && { output: snapshot.output as unknown }),
      ...(error !== undefined && { error }),
    };
  }
}
