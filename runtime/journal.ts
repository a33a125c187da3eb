/**
 * A node incarnation's own journal. Invariant: one append is in flight at a time, fenced by the sequence of the one before;
 * after a seal nothing can be appended. A lost acknowledgement and a seal are told apart by reading the last record.
 */
import { type Clock, sleep } from "./clock.ts";
import { BusyError, RevisionConflictError, SealedError, StreamFullError, TroupeError } from "./errors.ts";
import { RETRY_MAX_MS, RETRY_MIN_MS } from "./limits.ts";
import type { Broker, StoredMessage } from "./port.ts";
import { decodeRecord, encodeSeal, type Round } from "./round.ts";

export class Journal {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #stream: string;
  readonly subject: string;
  readonly #closed: AbortSignal;
  #last = 0;
  #refusal: TroupeError | undefined;

  constructor(options: { broker: Broker; clock: Clock; stream: string; subject: string; closed: AbortSignal }) {
    this.#broker = options.broker;
    this.#clock = options.clock;
    this.#stream = options.stream;
    this.subject = options.subject;
    this.#closed = options.closed;
  }

  /** Sequence of the last committed record, 0 if none. */
  get last(): number {
    return this.#last;
  }

  /** Why no round is taken just now: further inputs would only wait behind the one that is refused. */
  get refusal(): TroupeError | undefined {
    return this.#refusal;
  }

  /**
   * Appends a round; resolves with its sequence. Repeats through outages: the round is committed, or the journal sealed.
   * @throws {SealedError} Others closed the journal, or the node is closing. The round is void.
   * @throws {PayloadError} The broker refuses it for good: repeating it would hang the node. The round is void.
   */
  async append(round: Round): Promise<number> {
    const bytes = round.encode();
    for (let pause = RETRY_MIN_MS; ; pause = Math.min(2 * pause, RETRY_MAX_MS)) {
      try {
        return this.#take(await this.#broker.append(this.subject, bytes, { expectedLastSubjectSeq: this.#last }));
      } catch (error) {
        const isConflict = error instanceof RevisionConflictError;
        if (!isConflict && !(error instanceof TroupeError && error.retryable)) throw error;
        if (!isConflict) {
          this.#refusal = refusalOf(error);
          await this.#pause(pause);
        }
        const found = await this.#committedAs(round.no);
        if (found !== undefined) return this.#take(found);
      }
    }
  }

  /** Reads the last record: the sequence if it is round `no`, undefined if the append must be repeated. */
  async #committedAs(no: number): Promise<number | undefined> {
    for (let pause = RETRY_MIN_MS; ; pause = Math.min(2 * pause, RETRY_MAX_MS)) {
      let last: StoredMessage | null;
      try {
        last = await this.#broker.getLast(this.#stream, this.subject);
      } catch (error) {
        if (!(error instanceof TroupeError && error.retryable)) throw error;
        await this.#pause(pause);
        continue;
      }
      if (last === null || last.seq === this.#last) return undefined;
      const record = decodeRecord(last.data);
      if (record.type === "seal")
        throw new SealedError(`Journal "${this.subject}" was sealed by "${record.by}": this incarnation is over`);
      if (record.no !== no)
        throw new SealedError(
          `Journal "${this.subject}" holds round ${record.no} that this process did not write: is the node name used twice?`,
        );
      return last.seq;
    }
  }

  #take(seq: number): number {
    this.#last = seq;
    this.#refusal = undefined;
    return seq;
  }

  async #pause(ms: number): Promise<void> {
    await sleep(this.#clock, ms, this.#closed).catch(() => {
      throw new SealedError(`Journal "${this.subject}" is closed: the node is stopping`);
    });
  }
}

function refusalOf(error: TroupeError): TroupeError {
  const text = `The journal takes no rounds (${error.message})`;
  return error instanceof StreamFullError
    ? new StreamFullError(text, { cause: error })
    : new BusyError(`${text}: try again later`, { cause: error });
}

/**
 * Closes a journal for good: whoever owned it can append no more. Idempotent; resolves with the seal's sequence.
 * @throws {BrokerUnavailableError} Unknown whether sealed; call again.
 */
export async function sealJournal(broker: Broker, stream: string, subject: string, by: string): Promise<number> {
  for (;;) {
    const last = await broker.getLast(stream, subject);
    if (last !== null && decodeRecord(last.data).type === "seal") return last.seq;
    try {
      return await broker.append(subject, encodeSeal(by), { expectedLastSubjectSeq: last?.seq ?? 0 });
    } catch (error) {
      if (!(error instanceof RevisionConflictError)) throw error; // the owner appended meanwhile: look again
    }
  }
}
