/**
 * Group commit: the open round, the one append in flight, and what leaves after it. Invariant: nothing that anyone can see
 * (answer, message, timer, invocation, query result, snapshot) leaves before the round that it reflects is committed.
 */
import type { Journal } from "./journal.ts";
import { type JournalInput, type Release, Round } from "./round.ts";

export interface CommitterHooks {
  /** Called as a round closes, before it is encoded: takes the snapshots that are due. */
  readonly onClose: (round: Round) => void;
  /** Called for a committed round, in order: performs its effects. */
  readonly onCommitted: (round: Round) => void;
  /** Room again: serve what waited in mailboxes. */
  readonly onRoom: () => void;
  /** The journal is sealed or broken: all that is not committed is void. */
  readonly onFailed: (error: unknown) => void;
}

export class Committer {
  readonly #journal: Journal;
  readonly #hooks: CommitterHooks;
  #open = new Round(1);
  #isScheduled = false;
  #failure: { readonly error: unknown } | undefined;
  rounds = 0;
  inputs = 0;

  constructor(journal: Journal, hooks: CommitterHooks) {
    this.#journal = journal;
    this.#hooks = hooks;
  }

  get open(): Round {
    return this.#open;
  }

  get hasRoom(): boolean {
    return !this.#open.isFull;
  }

  /** Sequence up to which everything this node wrote is committed. */
  get committedSeq(): number {
    return this.#journal.last;
  }

  add(input: JournalInput, release: Release): Round {
    const round = this.#open;
    round.add(input, release);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      // After the current burst of messages has been taken: one round for all of them.
      queueMicrotask(() => void this.#run());
    }
    return round;
  }

  /** @throws What ended the journal: nothing will be committed any more. */
  assertSound(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** One append in flight at a time; the next leaves in the same turn as the answers of the one before, in one write. */
  async #run(): Promise<void> {
    try {
      while (!this.#open.isEmpty) {
        const round = this.#open;
        this.#open = new Round(round.no + 1);
        this.#hooks.onClose(round);
        const appended = this.#journal.append(round);
        // What waited goes first into the new round, before what arrives while the append is under way.
        this.#hooks.onRoom();
        this.#commit(round, await appended);
      }
    } catch (error) {
      this.#failure = { error };
      this.#hooks.onFailed(error);
      return; // stays scheduled: a failed committer takes nothing more
    }
    this.#isScheduled = false;
  }

  #commit(round: Round, seq: number): void {
    round.commit(seq);
    this.rounds++;
    this.inputs += round.inputs.length;
    this.#hooks.onCommitted(round);
    for (const fn of round.finish()) fn();
  }
}
