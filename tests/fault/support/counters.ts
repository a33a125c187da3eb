/**
 * Load of durable increments, and its auditor. Invariant checked: an acknowledged increment counts once; a call that began
 * after another was answered sees more than it; a query never shows less than what was acknowledged before it.
 */
import type { Client } from "../../../runtime/api.ts";
import type { FaultCluster } from "./cluster.ts";
import { counter } from "./kinds.ts";
import type { Random } from "./random.ts";
import { pass } from "./wait.ts";

/** Every call is to be acknowledged within this whatever happens, unless told otherwise, in ms. */
const CALL_DEADLINE_MS = 30_000;

/** Between two bursts of a paced load, in ms. */
const PACE_MS = 5;

interface Tally {
  /** What the counter showed before this load. */
  base: number;
  acked: number;
  /** Calls that threw: they may have counted, or not. */
  unknown: number;
  highest: number;
  readonly replies: Set<number>;
}

export interface CounterOptions {
  readonly keys: number;
  /** First letters of its counters' ids: two loads at once count apart. Default "k". */
  readonly prefix?: string;
  /** Who calls. Default the cluster's client. */
  readonly client?: Client;
  readonly deadlineMs?: number;
}

export interface CounterReport {
  readonly acked: number;
  readonly unknown: number;
  /** Acknowledged increments that no counter shows. */
  readonly lost: number;
  /** Increments that counted more than once. */
  readonly doubled: number;
  readonly errors: readonly string[];
  /** The slowest call, in ms: the worst pause that a caller met. */
  readonly slowestMs: number;
  /** What contradicts the invariant, empty if nothing does. */
  readonly breaches: readonly string[];
}

export class CounterLoad {
  readonly #client: Client;
  readonly #random: Random;
  readonly #keys: number;
  readonly #prefix: string;
  readonly #deadlineMs: number;
  readonly #tallies = new Map<string, Tally>();
  readonly #breaches: string[] = [];
  readonly #errors: string[] = [];
  #stopping = false;
  #slowestMs = 0;
  #lost = 0;
  #doubled = 0;
  #lanes: Promise<void>[] = [];

  constructor(cluster: FaultCluster, random: Random, options: CounterOptions) {
    this.#client = options.client ?? cluster.client;
    this.#random = random;
    this.#keys = options.keys;
    this.#prefix = options.prefix ?? "k";
    this.#deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;
  }

  get acked(): number {
    let sum = 0;
    for (const tally of this.#tallies.values()) sum += tally.acked;
    return sum;
  }

  get breaches(): readonly string[] {
    return this.#breaches;
  }

  /** Takes what an earlier load counted as acknowledged. */
  async adoptExisting(): Promise<void> {
    const own = new Set(Array.from({ length: this.#keys }, (_, i) => this.#key(i)));
    for (const { id } of await this.#client.list(counter.kind)) {
      if (own.has(id)) this.#tally(id).highest = this.#tally(id).base = await this.#read(id);
    }
  }

  /** Counts every counter once, so that all are live. */
  async touchAll(): Promise<void> {
    await Promise.all(Array.from({ length: this.#keys }, (_, i) => this.#increment(this.#key(i))));
  }

  /** Starts closed-loop lanes; with `reads`, each reads its write back. */
  start(lanes: number, options: { readonly reads?: boolean } = {}): void {
    this.#lanes = Array.from({ length: lanes }, (_, i) =>
      this.#lane(this.#random.fork(`lane-${i}`), options.reads === true),
    );
  }

  /** Starts `perSecond` calls each second, whether or not earlier ones are answered. */
  pace(perSecond: number): void {
    this.#lanes = [this.#paced(this.#random.fork("paced"), perSecond)];
  }

  /** Ends the load and compares every counter with what was acknowledged. */
  async finish(): Promise<CounterReport> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
    for (const [key, tally] of this.#tallies) await this.#audit(key, tally);
    let unknown = 0;
    for (const tally of this.#tallies.values()) unknown += tally.unknown;
    return {
      acked: this.acked,
      unknown,
      errors: this.#errors,
      slowestMs: this.#slowestMs,
      lost: this.#lost,
      doubled: this.#doubled,
      breaches: this.#breaches,
    };
  }

  async #lane(random: Random, reads: boolean): Promise<void> {
    while (!this.#stopping) {
      const key = this.#key(random.int(0, this.#keys));
      const value = await this.#increment(key);
      if (reads && value !== undefined) await this.#readBack(key);
    }
  }

  async #paced(random: Random, perSecond: number): Promise<void> {
    const startedAt = performance.now();
    const calls = new Set<Promise<unknown>>();
    for (let sent = 0; !this.#stopping; ) {
      for (; sent < ((performance.now() - startedAt) / 1_000) * perSecond; sent++) {
        const call = this.#increment(this.#key(random.int(0, this.#keys)));
        calls.add(call);
        void call.finally(() => calls.delete(call));
      }
      await pass(PACE_MS);
    }
    await Promise.all(calls);
  }

  async #increment(key: string): Promise<number | undefined> {
    const tally = this.#tally(key);
    const before = tally.highest;
    const startedAt = performance.now();
    try {
      const { n } = (await this.#client.ask(
        counter,
        key,
        { type: "INC", by: 1 },
        { deadlineMs: this.#deadlineMs },
      )) as { n: number };
      tally.acked++;
      this.#slowestMs = Math.max(this.#slowestMs, Math.round(performance.now() - startedAt));
      if (tally.replies.has(n)) this.#breaches.push(`${key}: two increments were answered with ${n}`);
      if (n <= before) this.#breaches.push(`${key}: answered ${n} to a call that began after ${before} was answered`);
      tally.replies.add(n);
      tally.highest = Math.max(tally.highest, n);
      return n;
    } catch (error) {
      tally.unknown++;
      this.#errors.push(`${key}: ${String(error)}`);
      return undefined;
    }
  }

  async #readBack(key: string): Promise<void> {
    const { highest } = this.#tally(key);
    try {
      const n = await this.#read(key);
      if (n < highest) this.#breaches.push(`${key}: a query showed ${n} after ${highest} was acknowledged`);
    } catch (error) {
      // No answer in time is no contradiction; one that denies what was acknowledged is.
      if ((error as { retryable?: boolean }).retryable !== true)
        this.#breaches.push(`${key}: a query after ${highest} failed: ${String(error)}`);
      else this.#errors.push(`${key}: ${String(error)}`);
    }
  }

  async #audit(key: string, tally: Tally): Promise<void> {
    if (tally.acked === 0) return;
    const n = await this.#read(key);
    const counted = n - tally.base;
    this.#lost += Math.max(0, tally.acked - counted);
    this.#doubled += Math.max(0, counted - tally.acked - tally.unknown);
    if (counted < tally.acked || counted > tally.acked + tally.unknown) {
      this.#breaches.push(`${key}: counted ${counted}, acknowledged ${tally.acked}, unknown ${tally.unknown}`);
    }
  }

  async #read(key: string): Promise<number> {
    const view = await this.#client.query(counter, key, { deadlineMs: this.#deadlineMs });
    return (view.context as { n: number }).n;
  }

  #key(number: number): string {
    return `${this.#prefix}${number}`;
  }

  #tally(key: string): Tally {
    let tally = this.#tallies.get(key);
    if (tally === undefined)
      this.#tallies.set(key, (tally = { base: 0, acked: 0, unknown: 0, highest: 0, replies: new Set() }));
    return tally;
  }
}
