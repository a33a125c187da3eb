/**
 * One stream of the in-memory broker: the server's limits, compare-and-set, duplicate window, times to live and schedules.
 * Invariant: a refused message leaves no trace; what is stored has passed every check in the server's own order.
 */
import type { Clock, TimerHandle } from "./clock.ts";
import type { StreamSpec } from "../nats-config/streams.ts";
import { PayloadError, RevisionConflictError, StreamFullError } from "./errors.ts";
import type { HeaderBag, ReadOptions, StoredMessage } from "./port.ts";
import { TimeHeap } from "./port-memory-heap.ts";
import { type Entry, MemoryLog, storedBytes, toStored } from "./port-memory-log.ts";
import { refuseUnmodelled } from "./port-memory-spec.ts";
import { hasWildcard, type Matcher, matcherOf, matcherOfAny } from "./port-memory-subject.ts";

const MS = 1_000_000;
/** The server's own default, in ms. */
const DEFAULT_DUPLICATE_WINDOW_MS = 120_000;
/** As the port promises when a reader names no limit. */
const DEFAULT_READ_LIMIT = 256;

type Due = { readonly kind: "expire" | "fire"; readonly seq: number };

export class MemoryStream {
  readonly name: string;
  readonly spec: StreamSpec;
  readonly #clock: Clock;
  readonly #onStored: (message: StoredMessage) => void;
  readonly takes: Matcher;
  readonly #log = new MemoryLog();
  readonly #due = new TimeHeap<Due>();
  readonly #ids = new Map<string, { readonly seq: number; readonly untilMs: number }>();
  readonly #watchers = new Set<() => void>();
  #alarm: { readonly atMs: number; readonly handle: TimerHandle } | undefined;

  constructor(clock: Clock, spec: StreamSpec, onStored: (message: StoredMessage) => void) {
    refuseUnmodelled(spec);
    this.#clock = clock;
    this.#onStored = onStored;
    this.takes = matcherOfAny(spec.subjects);
    this.spec = spec;
    this.name = spec.name;
  }

  get lastSeq(): number {
    return this.#log.lastSeq;
  }

  /** Calls `watcher` after each stored message. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Stores a message as the server would: instructions stand in the headers. Returns its sequence, or the duplicate's. */
  store(subject: string, data: Uint8Array, headers: HeaderBag): { readonly seq: number; readonly duplicate: boolean } {
    this.#checkHeaders(subject, headers);
    const expected = headers["Nats-Expected-Last-Subject-Sequence"];
    // Before the duplicate check, as the server does: a repeated compare-and-set conflicts with itself.
    if (expected !== undefined && (this.#log.lastOf(subject)?.seq ?? 0) !== Number(expected)) {
      throw new RevisionConflictError(subject, Number(expected));
    }
    const id = headers["Nats-Msg-Id"];
    const known = id === undefined ? undefined : this.#recall(id);
    if (known !== undefined) return { seq: known, duplicate: true };
    this.#refuseFull(subject, data, headers);
    const schedule = headers["Nats-Schedule"];
    const kept = schedule === undefined ? headers : { ...headers, "Nats-Rollup": "sub" };
    const entry = this.#add(subject, data, kept);
    const windowMs = (this.spec.duplicate_window ?? 0) / MS || DEFAULT_DUPLICATE_WINDOW_MS;
    if (id !== undefined) this.#ids.set(id, { seq: entry.seq, untilMs: entry.timeMs + windowMs });
    if (schedule !== undefined) this.#addDue(scheduledAtMs(schedule), { kind: "fire", seq: entry.seq });
    this.#notify();
    return { seq: entry.seq, duplicate: false };
  }

  last(subject: string): StoredMessage | null {
    const entry = hasWildcard(subject) ? this.#lastEntries(subject).at(-1) : this.#log.lastOf(subject);
    return entry === undefined ? null : toStored(this.name, entry);
  }

  lastPerSubject(filter: string, limit: number): StoredMessage[] {
    return this.#lastEntries(filter)
      .slice(0, limit)
      .map((entry) => toStored(this.name, entry));
  }

  page({ subject, fromSeq = 1, limit = DEFAULT_READ_LIMIT }: ReadOptions): StoredMessage[] {
    const found: StoredMessage[] = [];
    const matches = matcherOf(subject);
    for (const entry of this.#log.from(fromSeq)) {
      if (found.length >= limit) break;
      if (matches(entry.subject)) found.push(toStored(this.name, entry));
    }
    return found;
  }

  /** The first message at or after `fromSeq` whose subject `matches`. */
  next(matches: Matcher, fromSeq: number): StoredMessage | undefined {
    for (const entry of this.#log.from(fromSeq)) {
      if (matches(entry.subject)) return toStored(this.name, entry);
    }
    return undefined;
  }

  at(seq: number): StoredMessage | undefined {
    const entry = this.#log.at(seq);
    return entry === undefined ? undefined : toStored(this.name, entry);
  }

  counts(filter: string): Map<string, number> {
    return new Map(this.#log.subjectsUnder(filter).map((subject) => [subject, this.#log.seqsOf(subject).length]));
  }

  purge(filter: string, belowSeq = Number.POSITIVE_INFINITY): number {
    const doomed = this.#log
      .subjectsUnder(filter)
      .flatMap((subject) => this.#log.seqsOf(subject).filter((seq) => seq < belowSeq));
    for (const seq of doomed) this.#log.remove(seq);
    return doomed.length;
  }

  remove(seq: number): boolean {
    if (this.spec.deny_delete === true)
      throw new PayloadError(`The stream "${this.name}" does not allow removal: purge, or append a delete marker`);
    return this.#log.remove(seq) !== undefined;
  }

  #lastEntries(filter: string): Entry[] {
    const entries = this.#log.subjectsUnder(filter).flatMap((subject) => this.#log.lastOf(subject) ?? []);
    return entries.sort((a, b) => a.seq - b.seq);
  }

  #checkHeaders(subject: string, headers: HeaderBag): void {
    const { "Nats-TTL": ttl, "Nats-Schedule": schedule, "Nats-Rollup": rollup } = headers;
    if (ttl !== undefined && this.spec.allow_msg_ttl !== true) throw this.#refusal("a time to live", "allow_msg_ttl");
    if (ttl !== undefined) ttlMs(ttl);
    if (rollup !== undefined && this.spec.allow_rollup_hdrs !== true)
      throw this.#refusal("a rollup", "allow_rollup_hdrs");
    if (schedule === undefined) return;
    if (this.spec.allow_msg_schedules !== true) throw this.#refusal("a schedule", "allow_msg_schedules");
    scheduledAtMs(schedule);
    const target = headers["Nats-Schedule-Target"] ?? "";
    if (target !== subject && !hasWildcard(target) && this.takes(target)) return;
    throw new PayloadError(
      `The schedule target "${target}" is invalid: name another subject of the stream "${this.name}", without wildcards`,
    );
  }

  #refusal(what: string, setting: string): PayloadError {
    return new PayloadError(`The stream "${this.name}" does not take ${what}: set "${setting}" in its configuration`);
  }

  #recall(id: string): number | undefined {
    const nowMs = this.#clock.now();
    for (const [old, { untilMs }] of this.#ids) {
      if (untilMs > nowMs) break; // in order of arrival, so the rest is newer
      this.#ids.delete(old);
    }
    return this.#ids.get(id)?.seq;
  }

  #refuseFull(subject: string, data: Uint8Array, headers: HeaderBag): void {
    if (this.spec.discard !== "new") return;
    const { max_bytes = -1, max_msgs = -1, max_msgs_per_subject = -1, discard_new_per_subject = false } = this.spec;
    const full =
      (max_bytes > 0 && this.#log.bytes + storedBytes(subject, data, headers) > max_bytes) ||
      (max_msgs > 0 && this.#log.count >= max_msgs) ||
      (discard_new_per_subject && max_msgs_per_subject > 0 && this.#log.seqsOf(subject).length >= max_msgs_per_subject);
    if (full)
      throw new StreamFullError(
        `The stream "${this.name}" is full and took no message for "${subject}": free space, or try later`,
      );
  }

  #add(subject: string, data: Uint8Array, headers: HeaderBag): Entry {
    const entry = this.#log.add(subject, data, headers, this.#clock.now());
    if (headers["Nats-Rollup"] === "sub") this.purge(subject, entry.seq);
    if (headers["Nats-Rollup"] === "all") this.purge(">", entry.seq);
    const { max_msgs_per_subject = -1, max_msgs = -1, max_bytes = -1 } = this.spec;
    const seqs = this.#log.seqsOf(subject);
    while (max_msgs_per_subject > 0 && seqs.length > max_msgs_per_subject) this.#log.remove(seqs[0] ?? 0);
    while ((max_msgs > 0 && this.#log.count > max_msgs) || (max_bytes > 0 && this.#log.bytes > max_bytes)) {
      if (this.#log.remove(this.#log.first()?.seq ?? 0) === undefined) break;
    }
    const expiresAtMs = this.#expiryMs(entry);
    if (expiresAtMs !== undefined) this.#addDue(expiresAtMs, { kind: "expire", seq: entry.seq });
    this.#onStored(toStored(this.name, entry));
    return entry;
  }

  #expiryMs({ headers, timeMs }: Entry): number | undefined {
    const ownMs = headers["Nats-TTL"] === undefined ? undefined : ttlMs(headers["Nats-TTL"]);
    if (ownMs === Number.POSITIVE_INFINITY) return undefined;
    const ageMs = (this.spec.max_age ?? 0) / MS || Number.POSITIVE_INFINITY;
    const lifeMs = Math.min(ownMs ?? Number.POSITIVE_INFINITY, ageMs);
    return lifeMs === Number.POSITIVE_INFINITY ? undefined : timeMs + lifeMs;
  }

  #addDue(atMs: number, due: Due): void {
    this.#due.add(atMs, due);
    this.#setAlarm();
  }

  #setAlarm(): void {
    const atMs = this.#due.first?.atMs;
    if (atMs === undefined || (this.#alarm !== undefined && this.#alarm.atMs <= atMs)) return;
    this.#clock.clearTimeout(this.#alarm?.handle);
    const handle = this.#clock.setTimeout(() => this.#runDue(), Math.max(0, atMs - this.#clock.now()));
    this.#alarm = { atMs, handle };
  }

  #runDue(): void {
    this.#alarm = undefined;
    for (;;) {
      const due = this.#due.take(this.#clock.now());
      if (due === undefined) break;
      const entry = this.#log.remove(due.seq);
      if (entry === undefined) continue; // overwritten or purged since
      if (due.kind === "fire") this.#fire(entry);
      else this.#mark(entry);
    }
    this.#setAlarm();
  }

  #fire({ subject, data, headers }: Entry): void {
    const own = Object.entries(headers).filter(([name]) => !name.startsWith("Nats-"));
    const ttl = headers["Nats-Schedule-TTL"];
    const fired = {
      ...Object.fromEntries(own),
      "Nats-Scheduler": subject,
      "Nats-Schedule-Next": "purge",
      ...(ttl === undefined ? {} : { "Nats-TTL": ttl }),
    };
    this.#add(headers["Nats-Schedule-Target"] ?? "", data, fired);
    this.#notify();
  }

  /** A marker tells readers that a subject's last message aged out; markers themselves go silently. */
  #mark({ subject, headers }: Entry): void {
    const markerTtlNs = this.spec.subject_delete_marker_ttl ?? 0;
    if (markerTtlNs <= 0 || this.#log.lastOf(subject) !== undefined) return;
    if (headers["Nats-Marker-Reason"] !== undefined || headers["KV-Operation"] === "PURGE") return;
    const marker = { "Nats-Marker-Reason": "MaxAge", "Nats-TTL": `${markerTtlNs / MS / 1_000}s`, "Nats-Rollup": "sub" };
    this.#add(subject, new Uint8Array(0), marker);
    this.#notify();
  }

  #notify(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

/** Milliseconds of a `Nats-TTL` header; infinite for `never`. */
function ttlMs(ttl: string): number {
  if (ttl === "never") return Number.POSITIVE_INFINITY;
  const seconds = /^(\d+)s?$/.exec(ttl)?.[1];
  if (seconds === undefined || Number(seconds) < 1)
    throw new PayloadError(`The time to live "${ttl}" is invalid: give whole seconds, 1 at least`);
  return Number(seconds) * 1_000;
}

function scheduledAtMs(schedule: string): number {
  const atMs = schedule.startsWith("@at ") ? Date.parse(schedule.slice(4)) : Number.NaN;
  if (Number.isNaN(atMs))
    throw new PayloadError(`The schedule "${schedule}" is not "@at" and a time: the in-memory broker knows no other`);
  return atMs;
}
