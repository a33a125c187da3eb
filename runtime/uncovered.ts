/**
 * An actor's inputs that no stored snapshot covers, in their order. Invariant: what is pushed comes out as it went in until
 * it is dropped from the front, which only a stored snapshot does.
 *
 * Their bytes lie in one buffer: an object each, alive for seconds at tens of thousands a second, would be most of what the
 * garbage collector has to carry.
 */

/** Where an input stands in the journal: 0 until its round is committed. */
export interface Place {
  readonly seq: number;
}

/** An input with its place, as the history keeps it. */
export type UncoveredRow = [seq: number, timeMs: number, body: Uint8Array, poison: string | null];

/** First size of the buffer, in bytes: two or three small inputs. It doubles from there. */
const FIRST_BYTES = 256;
const EMPTY = Buffer.alloc(0);

export class Uncovered {
  #places: Place[] = [];
  #times: number[] = [];
  /** End of each body in the buffer. */
  #ends: number[] = [];
  #poison = new Map<number, string>();
  #buffer = EMPTY;
  /** Inputs dropped so far. */
  dropped = 0;

  get length(): number {
    return this.#ends.length;
  }

  /** Bytes of the bodies. */
  get bytes(): number {
    return this.#ends.at(-1) ?? 0;
  }

  push(place: Place, timeMs: number, body: Uint8Array, poison: string | null): void {
    const start = this.bytes;
    const end = start + body.length;
    if (end > this.#buffer.length) this.#grow(end);
    this.#buffer.set(body, start);
    if (poison !== null) this.#poison.set(this.length, poison);
    this.#places.push(place);
    this.#times.push(timeMs);
    this.#ends.push(end);
  }

  /** Place of the input at `index` in the journal; undefined: there is none. */
  seqAt(index: number): number | undefined {
    return this.#places.at(index)?.seq;
  }

  /** The input at `index`. Its body is valid until the next push or drop. */
  row(index: number): UncoveredRow {
    const body = this.#buffer.subarray(this.#ends[index - 1] ?? 0, this.#ends[index]);
    return [this.#places[index]?.seq ?? 0, this.#times[index] ?? 0, body, this.#poison.get(index) ?? null];
  }

  /** Forgets the first `count`. */
  drop(count: number): void {
    const start = this.#ends[count - 1] ?? 0;
    this.#buffer = start === this.bytes ? EMPTY : Buffer.from(this.#buffer.subarray(start, this.bytes));
    this.#places = this.#places.slice(count);
    this.#times = this.#times.slice(count);
    this.#ends = this.#ends.slice(count).map((end) => end - start);
    if (this.#poison.size > 0) {
      const kept = [...this.#poison].filter(([index]) => index >= count);
      this.#poison = new Map(kept.map(([index, cause]) => [index - count, cause]));
    }
    this.dropped += count;
  }

  #grow(atLeast: number): void {
    const grown = Buffer.allocUnsafe(Math.max(atLeast, 2 * this.#buffer.length, FIRST_BYTES));
    grown.set(this.#buffer.subarray(0, this.bytes));
    this.#buffer = grown;
  }
}
