/**
 * A copy of an actor that another node owns, kept up by that node's journal. Invariant: if it is whole, its state is the stored
 * one that it was built on and, in journal order, every committed input since; `uncovered` holds these inputs in any case.
 */
import type { Activation } from "./activation.ts";
import { newState } from "./actor-state.ts";
import { replayInput } from "./apply.ts";
import { decodeInput } from "./envelope.ts";
import { SHADOW_STALE_MS } from "./limits.ts";
import { filings } from "./performer.ts";
import type { JournalInput } from "./round.ts";
import type { StoredState } from "./snapshots.ts";
import type { UncoveredRow } from "./uncovered.ts";

/** An input with its place in the journal. */
export interface PlacedInput {
  readonly seq: number;
  readonly input: JournalInput;
}

export class Shadow {
  readonly activation: Activation;
  /** Monotonic ms when its stored state was last asked for. */
  askedAtMs = Number.NEGATIVE_INFINITY;
  /** The last committed input that was heard of. Until a checkpoint passes it none names the actor as busy, so the shadow must wake it. */
  lastSeq = 0;
  #isWhole = false;
  #builtAtMs = Number.NEGATIVE_INFINITY;

  constructor(activation: Activation) {
    this.activation = activation;
  }

  /** Bytes of inputs held. */
  get bytes(): number {
    return this.activation.uncovered.bytes;
  }

  /** Takes what was committed. */
  take(seq: number, [timeMs, , body, poison]: JournalInput): void {
    const { activation } = this;
    this.lastSeq = seq;
    if (this.#isWhole && seq <= activation.coveredSeq) return; // the owner stored it before it was heard of here
    activation.uncovered.push({ seq }, timeMs, body, poison);
    this.#isWhole &&= this.#apply([seq, timeMs, body, poison]);
  }

  /** Begins anew on what was stored at `askedAtMs` or later, and lets go of what that covers. */
  build(stored: StoredState | null, askedAtMs: number): void {
    const { activation } = this;
    const { uncovered } = activation;
    if ((stored?.covers ?? 0) < activation.coveredSeq) return; // what lies between was let go: it grows too old to be used
    activation.begin(stored?.state ?? newState(), stored);
    let covered = 0;
    while ((uncovered.seqAt(covered) ?? Number.POSITIVE_INFINITY) <= activation.coveredSeq) covered++;
    if (covered > 0) uncovered.drop(covered);
    this.#isWhole = true;
    this.#builtAtMs = askedAtMs;
    for (const row of uncovered.rows(uncovered.length)) this.#isWhole &&= this.#apply(row);
  }

  /** It may go live as it is. If not, the actor is rebuilt from {@link inputs}, as without a standby. */
  isFit(nowMs: number): boolean {
    return this.#isWhole && nowMs - this.#builtAtMs <= SHADOW_STALE_MS;
  }

  inputs(): PlacedInput[] {
    const { uncovered, key } = this.activation;
    return Array.from(uncovered.rows(uncovered.length), ([seq, timeMs, body, poison]) => ({
      seq,
      input: [timeMs, key, body, poison],
    }));
  }

  /** False: one that files something with the dead letters, as a poison input does, or that this code refuses: for the owner to tell. */
  #apply([, timeMs, body, poison]: UncoveredRow): boolean {
    const { kind, address, state } = this.activation;
    try {
      const input = decodeInput(body);
      if (filings(input, poison) > 0) return false;
      replayInput(kind, address, state, input, timeMs);
      return true;
    } catch {
      return false; // recovery meets the same error, and tells
    }
  }
}
