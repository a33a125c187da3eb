/**
 * An actor's inputs that no stored snapshot covers, in their order. Invariant: what is pushed comes out as it went in until
 * it is dropped from the front, which only a stored snapshot does.
 *
 * They lie in one buffer, each behind its time and length: an object each, alive for seconds at tens of thousands a second,
 * would be most of what the garbage collector has to carry.
 */

/** Where an input stands in the journal: 0 until its round is committed. */
export interface Place {
  readonly seq: number;
}

/** An input with its place, as the history keeps it. */
export type UncoveredRow = [seq: number, timeMs: number, body: Uint8Array, poison: string | null];

/** First size of the buffer, in bytes: two or three small inputs. It doubles from there. */
const FIRST_BYTES = 256;
/** Time and length before each body, in bytes. */
const HEAD_BYTES = 12;
const EMPTY = Buffer.alloc(0);

export class Uncovered {
  #places: Place[] = [];
  #buffer = EMPTY;
  #end = 0;
  #poison: Map<number, string> | null = null;
  /** Inputs dropped so far. */
  dropped = 0;

  get length(): number {
    return this.#places.length;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#end;
  }

  /** Tells how many bytes it takes. */
  push(place: Place, timeMs: number, body: Uint8Array, poison: string | null): number {
    const start = this.#end + HEAD_BYTES;
    const end = start + body.length;
    if (end > this.#buffer.length) this.#grow(end);
    this.#buffer.writeDoubleLE(timeMs, this.#end);
    this.#buffer.writeUInt32LE(body.length, start - 4);
    this.#buffer.set(body, start);
    if (poison !== null) (this.#poison ??= new Map()).set(this.dropped + this.length, poison);
    this.#places.push(place);
    this.#end = end;
    return HEAD_BYTES + body.length;
  }

  /** Place of the input at `index` in the journal; undefined: there is none. */
  seqAt(index: number): number | undefined {
    return this.#places[index]?.seq;
  }

  /** The first `count` inputs. The bodies stay as they are: nothing is written over what was pushed. */
  *rows(count: number): Generator<UncoveredRow, void> {
    for (let index = 0, at = 0; index < count; index++) {
      const start = at + HEAD_BYTES;
      const end = start + this.#buffer.readUInt32LE(start - 4);
      const poison = this.#poison?.get(this.dropped + index) ?? null;
      yield [
        (this.#places[index] as Place).seq,
        this.#buffer.readDoubleLE(at),
        this.#buffer.subarray(start, end),
        poison,
      ];
      at = end;
    }
  }

  /** Forgets the first `count`; tells how many bytes they took. */
  drop(count: number): number {
    let start = 0;
    for (let index = 0; index < count; index++) {
      start += HEAD_BYTES + this.#buffer.readUInt32LE(start + HEAD_BYTES - 4);
      this.#poison?.delete(this.dropped + index);
    }
    this.#buffer = start === this.#end ? EMPTY : Buffer.from(this.#buffer.subarray(start, this.#end));
    this.#end -= start;
    this.#places = this.#places.slice(count);
    this.dropped += count;
    return start;
  }

  #grow(atLeast: number): void {
    const grown = Buffer.allocUnsafe(Math.max(atLeast, 2 * this.#buffer.length, FIRST_BYTES));
    grown.set(this.#buffer.subarray(0, this.#end));
    this.#buffer = grown;
  }
}
