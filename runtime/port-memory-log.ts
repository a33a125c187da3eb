/**
 * The messages of one in-memory stream, found by position and by subject. Invariant: sequences only grow and are never
 * given twice; what is stored is never altered.
 */
import type { HeaderBag, StoredMessage } from "./port.ts";
import { headerBytes } from "./port-memory-headers.ts";
import { hasWildcard, matcherOf } from "./port-memory-subject.ts";

export interface Entry {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: HeaderBag;
  readonly timeMs: number;
}

/** What the file store adds to each message (sequence, time, lengths, checksum), in bytes, and more with headers. */
const FRAME_BYTES = 30;
const HEADER_FRAME_BYTES = 4;
/** Removed places at the front of the log before it is cut: keeps cutting cheap per message. */
const TRIM_AT = 1_024;

export class MemoryLog {
  #entries: (Entry | undefined)[] = [];
  #baseSeq = 1;
  #holes = 0;
  readonly #bySubject = new Map<string, number[]>();
  lastSeq = 0;
  bytes = 0;
  count = 0;

  add(subject: string, data: Uint8Array, headers: HeaderBag, timeMs: number): Entry {
    this.lastSeq += 1;
    const entry: Entry = { seq: this.lastSeq, subject, data, headers, timeMs };
    this.#entries.push(entry);
    const seqs = this.#bySubject.get(subject);
    if (seqs === undefined) this.#bySubject.set(subject, [entry.seq]);
    else seqs.push(entry.seq);
    this.bytes += storedBytes(subject, data, headers);
    this.count += 1;
    return entry;
  }

  at(seq: number): Entry | undefined {
    return this.#entries[seq - this.#baseSeq];
  }

  remove(seq: number): Entry | undefined {
    const entry = this.at(seq);
    if (entry === undefined) return undefined;
    this.#entries[seq - this.#baseSeq] = undefined;
    const seqs = this.#bySubject.get(entry.subject) ?? [];
    if (seqs[0] === seq) seqs.shift();
    else seqs.splice(seqs.indexOf(seq), 1);
    if (seqs.length === 0) this.#bySubject.delete(entry.subject);
    this.bytes -= storedBytes(entry.subject, entry.data, entry.headers);
    this.count -= 1;
    this.#trim();
    return entry;
  }

  /** Sequences that a subject holds, oldest first. */
  seqsOf(subject: string): readonly number[] {
    return this.#bySubject.get(subject) ?? [];
  }

  subjectsUnder(filter: string): string[] {
    if (!hasWildcard(filter)) return this.#bySubject.has(filter) ? [filter] : [];
    return [...this.#bySubject.keys()].filter(matcherOf(filter));
  }

  lastOf(subject: string): Entry | undefined {
    const seq = this.seqsOf(subject).at(-1);
    return seq === undefined ? undefined : this.at(seq);
  }

  first(): Entry | undefined {
    for (const entry of this.from(1)) return entry;
    return undefined;
  }

  *from(seq: number): Generator<Entry> {
    for (let at = Math.max(seq, this.#baseSeq); at <= this.lastSeq; at += 1) {
      const entry = this.at(at);
      if (entry !== undefined) yield entry;
    }
  }

  #trim(): void {
    while (this.#holes < this.#entries.length && this.#entries[this.#holes] === undefined) this.#holes += 1;
    if (this.#holes < TRIM_AT && this.#holes < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#holes);
    this.#baseSeq += this.#holes;
    this.#holes = 0;
  }
}

export function storedBytes(subject: string, data: Uint8Array, headers: HeaderBag): number {
  let bytes = FRAME_BYTES + subject.length + data.length;
  const names = Object.keys(headers);
  if (names.length > 0) bytes += HEADER_FRAME_BYTES + headerBytes(headers);
  return bytes;
}

/** What a reader gets: a copy of its own. */
export function toStored(stream: string, entry: Entry): StoredMessage {
  const { seq, subject, timeMs, headers } = entry;
  return { stream, seq, subject, timeMs, data: new Uint8Array(entry.data), header: (name) => headers[name] };
}
