/**
 * Who has been heard, so that nothing takes effect twice. A sender numbers its messages and says below which number all are
 * settled; the receiver keeps the answers of the rest. Invariant: for a sender that repeats only unsettled numbers, each
 * number is new at most once, whatever is lost, repeated or reordered. (The scheme of RIFL, SOSP 2015.)
 */
import { ACCEPTED, encodeError } from "./envelope.ts";
import { BusyError, DeadlineError } from "./errors.ts";
import { MAX_SENDER_BYTES, MAX_SENDERS, MAX_UNSETTLED, MAX_UNSETTLED_BYTES, SENDER_HORIZON_MS } from "./limits.ts";

interface Sender {
  low: number;
  atMs: number;
  /** Highest number taken: what is above is new without a look at the rest. */
  max: number;
  /**
   * Unsettled numbers in the order of their arrival, each followed by the answer given; null: accepted, no answer but the
   * commit. In one list: most senders have one number here, and every list more is memory to be touched for each input.
   */
  unsettled: (number | Uint8Array | null)[];
}

export type SenderRecord = [name: string, low: number, atMs: number, unsettled: [number, Uint8Array | null][]];

/** What an unsettled number costs beside its answer, in bytes. */
export const ENTRY_BYTES = 16;

const sizeOfAnswer = (answer: Uint8Array | null): number => ENTRY_BYTES + (answer?.length ?? 0);

export class Senders {
  readonly #senders = new Map<string, Sender>();
  /** The sender heard last: most actors hear one, and each input asks three times. */
  #lastName = "";
  #last: Sender | undefined;
  #nameBytes = 0;
  /** Bytes of kept answers. */
  bytes = 0;

  /**
   * `undefined`: new. Else the message was taken before: its answer, or null if accepted or long settled.
   */
  seen(name: string, seq: number): Uint8Array | null | undefined {
    const sender = this.#find(name);
    if (sender === undefined || seq > sender.max) return undefined;
    if (seq < sender.low) return null;
    const place = sender.unsettled.lastIndexOf(seq);
    return place < 0 ? undefined : (sender.unsettled[place + 1] as Uint8Array | null);
  }

  /**
   * The answer to a number of which no answer is kept. An actor that repeats what it had settled asks for the acceptance that
   * it once got. From anybody else a number below its own `low` comes for the first time (a pump that was frozen while others
   * carried on), or so late that nobody waits: it is not taken, and its sender must hear that.
   */
  repeated(name: string, seq: number): Uint8Array {
    const sender = this.#find(name);
    if (name.includes("/") || sender === undefined || seq >= sender.low) return ACCEPTED;
    return encodeError(
      new DeadlineError(
        `Number ${seq} of "${name}" comes after all below ${sender.low} were to be forgotten: send the message under a new number`,
      ),
    );
  }

  /**
   * Changes nothing, so that a refused message leaves no trace that replay would miss. One that its sender waits for to settle all
   * that came after it is taken at any bound of kept answers: nothing else would free them.
   * @throws {BusyError} A bound is reached.
   */
  admit(name: string, seq: number, low: number, timeMs: number): void {
    const sender = this.#find(name);
    const settles = sender !== undefined && (canSettle(sender, low) || isAwaited(sender, seq, low));
    if (sender !== undefined && sender.unsettled.length >= 2 * MAX_UNSETTLED && !settles) {
      throw new BusyError(`The sender has ${MAX_UNSETTLED} unsettled messages with this actor: wait for some`);
    }
    if (sender === undefined && this.#isFull && !this.#canForget(timeMs)) {
      throw new BusyError(`The actor hears ${this.#senders.size} senders at once: try again later`);
    }
    if (this.#holdsMuch && !settles && !this.#canForget(timeMs)) {
      throw new BusyError(`The actor keeps ${MAX_UNSETTLED_BYTES} bytes of unsettled replies: settle some`);
    }
  }

  /** Remembers the answer to a message that takes effect now. */
  mark(name: string, seq: number, low: number, timeMs: number, answer: Uint8Array | null): void {
    let sender = this.#find(name);
    if (sender === undefined ? this.#isFull || this.#holdsMuch : this.#holdsMuch && !canSettle(sender, low)) {
      this.forget(timeMs);
      sender = this.#find(name);
    }
    if (sender === undefined) {
      sender = { low, atMs: timeMs, max: seq, unsettled: [] };
      this.#add(name, sender);
    } else {
      this.#settle(sender, low);
      sender.atMs = timeMs;
      sender.max = Math.max(sender.max, seq);
    }
    if (sender.unsettled.length === 0)
      sender.unsettled = [seq, answer]; // a push would make room for 17
    else sender.unsettled.push(seq, answer);
    this.bytes += sizeOfAnswer(answer);
  }

  /**
   * Drops clients that have been silent beyond every deadline; actors, which may repeat a message after a long outage of
   * their node, only when the table is full. Called at fixed revisions and bounds, so that replay agrees.
   */
  forget(timeMs: number): void {
    const isFull = this.#isFull;
    for (const [name, sender] of this.#senders) {
      if (!isForgettable(name, sender, timeMs, isFull)) continue;
      for (const [, answer] of pairs(sender)) this.bytes -= sizeOfAnswer(answer);
      this.#senders.delete(name);
      this.#nameBytes -= Buffer.byteLength(name);
    }
    this.#lastName = "";
    this.#last = undefined;
  }

  toRecord(): SenderRecord[] {
    return Array.from(this.#senders, ([name, s]) => [name, s.low, s.atMs, pairs(s)]);
  }

  static fromRecord(records: readonly SenderRecord[]): Senders {
    const senders = new Senders();
    for (const [name, low, atMs, unsettled] of records) {
      const max = unsettled.reduce((most, [seq]) => Math.max(most, seq), low - 1);
      senders.#add(name, { low, atMs, max, unsettled: unsettled.flat() });
      for (const [, answer] of unsettled) senders.bytes += sizeOfAnswer(answer);
    }
    return senders;
  }

  get #isFull(): boolean {
    return this.#senders.size >= MAX_SENDERS || this.#nameBytes >= MAX_SENDER_BYTES;
  }

  get #holdsMuch(): boolean {
    return this.bytes > MAX_UNSETTLED_BYTES;
  }

  #add(name: string, sender: Sender): void {
    this.#senders.set(name, sender);
    this.#nameBytes += Buffer.byteLength(name);
  }

  #find(name: string): Sender | undefined {
    if (name === this.#lastName) return this.#last;
    const sender = this.#senders.get(name);
    if (sender !== undefined) {
      this.#lastName = name;
      this.#last = sender;
    }
    return sender;
  }

  #canForget(timeMs: number): boolean {
    const isFull = this.#isFull;
    for (const [name, sender] of this.#senders) if (isForgettable(name, sender, timeMs, isFull)) return true;
    return false;
  }

  /** Stops at the first unsettled one: what arrived out of order behind it goes with a later message. */
  #settle(sender: Sender, low: number): void {
    if (low <= sender.low) return;
    sender.low = low;
    const { unsettled } = sender;
    let settled = 0;
    for (; settled < unsettled.length && (unsettled[settled] as number) < low; settled += 2) {
      this.bytes -= sizeOfAnswer(unsettled[settled + 1] as Uint8Array | null);
    }
    if (settled === unsettled.length) unsettled.length = 0;
    else if (settled > 0) unsettled.splice(0, settled);
  }
}

/** The lowest that its sender has open, when only later ones were taken. */
const isAwaited = ({ unsettled }: Sender, seq: number, low: number): boolean => seq === low && unsettled.length > 0;

const isForgettable = (name: string, { atMs }: Sender, timeMs: number, isFull: boolean): boolean =>
  atMs < timeMs - SENDER_HORIZON_MS && (isFull || !name.includes("/"));

function pairs({ unsettled }: Sender): [number, Uint8Array | null][] {
  const result: [number, Uint8Array | null][] = [];
  for (let i = 0; i < unsettled.length; i += 2)
    result.push([unsettled[i] as number, unsettled[i + 1] as Uint8Array | null]);
  return result;
}

const canSettle = (sender: Sender, low: number): boolean =>
  ((sender.unsettled[0] ?? Number.POSITIVE_INFINITY) as number) < low;
