/**
 * An exclusive lock as a reference, written from the rules of the line and not from the product. Invariant: it knows at any
 * time who holds, who is next and how each grant ended; nothing of it is shared with the product.
 */
export type Rank = 0 | 1 | 2 | 3;

/** Ten minutes of head start a rank: stated, not imported. */
const AGEING_MS = 600_000;
const CONFIRM_MS = 5_000;

interface Waiting {
  readonly who: string;
  readonly rank: Rank;
  readonly ttlMs: number;
  readonly sinceMs: number;
  /** Order of joining, for equals. */
  readonly arrival: number;
  readonly bump: number | null;
}

export interface Holding {
  readonly who: string;
  readonly rank: Rank;
  readonly ttlMs: number;
  readonly sinceMs: number;
  readonly token: number;
  expiresAtMs: number;
}

export class ReferenceLock {
  nowMs: number;
  token = 0;
  holding: Holding | null = null;
  closed = false;
  /** How each token ended. */
  readonly ends = new Map<number, string>();
  stopping: { readonly who: string; readonly token: number; readonly to: Waiting; readonly untilMs: number } | null =
    null;
  #line: Waiting[] = [];
  #kept: { readonly for: string; readonly token: number; graceAtMs: number | null } | null = null;
  #arrivals = 0;
  readonly #policy: "wait" | "abort" | "takeover";
  readonly #graceMs: number;

  constructor(nowMs: number, policy: "wait" | "abort" | "takeover", graceMs: number) {
    this.nowMs = nowMs;
    this.#policy = policy;
    this.#graceMs = graceMs;
  }

  /** Who waits, the next one first. */
  get line(): readonly string[] {
    return this.#sorted().map(({ who }) => who);
  }

  acquire(who: string, rank: Rank, ttlMs: number): void {
    const isThere = this.holding?.who === who || this.stopping?.to.who === who || this.line.includes(who);
    if (!isThere) this.#line.push({ who, rank, ttlMs, sinceMs: this.nowMs, arrival: ++this.#arrivals, bump: null });
    this.#settle();
  }

  release(who: string, token: number, how = "released"): void {
    if (!this.#holds(who, token)) return;
    this.#end(how);
    this.#settle();
  }

  renew(who: string, token: number): void {
    if (this.#holds(who, token) && this.holding !== null) this.holding.expiresAtMs = this.nowMs + this.holding.ttlMs;
  }

  cancel(who: string): void {
    if (this.holding?.who === who) this.#end("cancelled");
    else if (this.stopping?.to.who === who) this.stopping = null;
    this.#leave(who);
    this.#settle();
  }

  yield(who: string, token: number): void {
    const held = this.holding;
    if (held === null || !this.#holds(who, token)) return;
    this.#end("preempted");
    this.#line.push({ ...held, arrival: ++this.#arrivals, bump: null });
    this.#settle();
  }

  bump(who: string): void {
    this.#line = this.#line.map((each) => (each.who === who ? { ...each, bump: ++this.#arrivals } : each));
    this.#settle();
  }

  takeover(who: string, ttlMs: number): void {
    if (this.holding?.who === who || this.stopping !== null) return;
    const sinceMs = this.#line.find((each) => each.who === who)?.sinceMs ?? this.nowMs;
    this.#leave(who);
    const to = { who, rank: 0, ttlMs, sinceMs, arrival: 0, bump: null } as const;
    if (this.holding === null) this.#give(to);
    else this.#force(to, "taken over");
  }

  stopped(who: string, token: number): void {
    if (this.stopping?.who !== who || this.stopping.token !== token) return;
    this.#finish();
    this.#settle();
  }

  maintain(on: boolean): void {
    this.closed = on;
    this.#settle();
  }

  /** When it does something by itself. */
  dueAtMs(): number {
    return Math.min(
      this.holding?.expiresAtMs ?? Infinity,
      this.stopping?.untilMs ?? Infinity,
      this.#kept?.graceAtMs ?? Infinity,
    );
  }

  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let due = this.dueAtMs(); due <= endMs; due = this.dueAtMs()) {
      this.nowMs = Math.max(this.nowMs, due);
      if (this.holding !== null && this.holding.expiresAtMs <= this.nowMs) this.#end("expired");
      if (this.stopping !== null && this.stopping.untilMs <= this.nowMs) this.#finish();
      if (this.#kept !== null && (this.#kept.graceAtMs ?? Infinity) <= this.nowMs) this.#graceIsOver(this.#kept);
      this.#settle();
    }
    this.nowMs = endMs;
  }

  #graceIsOver(kept: { readonly for: string; readonly token: number; graceAtMs: number | null }): void {
    kept.graceAtMs = null;
    const to = this.#line.find(({ who }) => who === kept.for);
    if (this.#policy !== "takeover" || this.closed || to === undefined || this.holding?.token !== kept.token) return;
    this.#leave(to.who);
    this.#force(to, "preempted");
  }

  #force(to: Waiting, how: string): void {
    const held = this.holding;
    if (held === null) return;
    this.#end(how);
    this.#kept = null;
    if (held.who.startsWith("client/")) this.#give(to);
    else this.stopping = { who: held.who, token: held.token, to, untilMs: this.nowMs + CONFIRM_MS };
  }

  #finish(): void {
    const to = this.stopping?.to;
    this.stopping = null;
    if (to !== undefined) this.#give(to);
  }

  #settle(): void {
    const isOpen = !this.closed && this.stopping === null;
    const next = this.#line.find(({ who }) => who === this.#kept?.for) ?? this.#sorted()[0];
    if (isOpen && this.holding === null && next !== undefined) {
      this.#leave(next.who);
      this.#give(next);
    }
    const kept = this.#kept;
    if (kept !== null && (this.holding?.token !== kept.token || !this.line.includes(kept.for))) this.#kept = null;
    const critical = this.#sorted().find(({ rank }) => rank === 0);
    if (!isOpen || this.#kept !== null || critical === undefined || this.holding === null || this.holding.rank === 0)
      return;
    this.#kept = { for: critical.who, token: this.holding.token, graceAtMs: this.nowMs + this.#graceMs };
  }

  #give({ who, rank, ttlMs, sinceMs }: Waiting): void {
    if (this.holding !== null) throw new Error("The reference itself gave to two");
    this.token++;
    this.holding = { who, rank, ttlMs, sinceMs, token: this.token, expiresAtMs: this.nowMs + ttlMs };
    if (this.#kept?.for === who) this.#kept = null;
  }

  #end(how: string): void {
    if (this.holding === null) return;
    this.ends.set(this.holding.token, how);
    this.holding = null;
  }

  #holds(who: string, token: number): boolean {
    return this.holding?.who === who && this.holding.token === token;
  }

  #leave(who: string): void {
    this.#line = this.#line.filter((each) => each.who !== who);
  }

  #sorted(): Waiting[] {
    const keyOf = ({ bump, rank, sinceMs, arrival }: Waiting): readonly number[] => {
      if (bump !== null) return [0, bump, 0, 0];
      return rank === 0 ? [1, sinceMs, 0, arrival] : [2, sinceMs + rank * AGEING_MS, rank, arrival];
    };
    return this.#line.toSorted((a, b) => {
      const [x, y] = [keyOf(a), keyOf(b)];
      const at = x.findIndex((value, i) => value !== y[i]);
      return at < 0 ? 0 : (x[at] ?? 0) - (y[at] ?? 0);
    });
  }
}
