/**
 * Money that moves between accounts by messages, and its auditor. Invariant checked: once all is quiet the total is what it
 * was, every accepted transfer left one account once and reached another once.
 */
import type { FaultCluster } from "./cluster.ts";
import { HEAL_DEADLINE_MS } from "./cluster.ts";
import { account, OPENING_BALANCE } from "./kinds.ts";
import type { Random } from "./random.ts";
import { until } from "./wait.ts";

const CALL_DEADLINE_MS = 30_000;
const MAX_AMOUNT = 50;
/** A deposit that a sender has yet to deliver may wait out a retry of a second or two, in ms. */
const QUIET_DEADLINE_MS = 2 * HEAL_DEADLINE_MS;

interface Balance {
  readonly balance: number;
  readonly sent: number;
  readonly received: number;
}

export interface BankReport {
  readonly transfers: number;
  readonly unknown: number;
  readonly total: number;
  readonly expectedTotal: number;
  readonly sent: number;
  readonly received: number;
  /** Accounts whose own books disagree with the acknowledged transfers; only judged when none is unknown. */
  readonly breaches: readonly string[];
  readonly errors: readonly string[];
}

export class Bank {
  readonly #cluster: FaultCluster;
  readonly #random: Random;
  readonly #ids: readonly string[];
  readonly #net = new Map<string, number>();
  readonly #errors: string[] = [];
  readonly #acked: { readonly no: number; readonly from: string; readonly atMs: number }[] = [];
  #next = 1;
  #transfers = 0;
  #unknown = 0;
  #stopping = false;
  #lanes: Promise<void>[] = [];

  /** `prefix`: first letters of its accounts' ids, for several banks of one cluster. */
  constructor(cluster: FaultCluster, random: Random, accounts: number, prefix = "a") {
    this.#cluster = cluster;
    this.#random = random;
    this.#ids = Array.from({ length: accounts }, (_, i) => `${prefix}${i}`);
  }

  async open(): Promise<void> {
    await Promise.all(
      this.#ids.map((id) => this.#cluster.client.ask(account, id, { type: "OPEN" }, { deadlineMs: CALL_DEADLINE_MS })),
    );
  }

  start(lanes: number): void {
    this.#lanes = Array.from({ length: lanes }, (_, i) => this.#lane(this.#random.fork(`lane-${i}`)));
  }

  /** Ends the load, waits until every deposit has arrived, and reads the books. */
  async finish(): Promise<BankReport> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
    const books = await until("every sent transfer to be received", QUIET_DEADLINE_MS, async () => {
      const read = await this.#books();
      return sum(read, "sent") === sum(read, "received") && read;
    }).catch(() => this.#books()); // the report shows what is missing
    const breaches = [...books].flatMap(([id, { balance }]) => {
      const expected = OPENING_BALANCE + (this.#net.get(id) ?? 0);
      return this.#unknown > 0 || balance === expected ? [] : [`${id}: holds ${balance}, should hold ${expected}`];
    });
    if (breaches.length > 0) breaches.push(...(await this.#missing()));
    return {
      transfers: this.#transfers,
      unknown: this.#unknown,
      total: sum(books, "balance"),
      expectedTotal: this.#ids.length * OPENING_BALANCE,
      sent: sum(books, "sent"),
      received: sum(books, "received"),
      breaches,
      errors: this.#errors,
    };
  }

  async #lane(random: Random): Promise<void> {
    while (!this.#stopping) {
      const no = this.#next++;
      const [from, to, amount] = [random.pick(this.#ids), random.pick(this.#ids), random.int(1, MAX_AMOUNT)];
      try {
        await this.#cluster.client.tell(
          account,
          from,
          { type: "TRANSFER", to, amount, no },
          { deadlineMs: CALL_DEADLINE_MS },
        );
        this.#transfers++;
        this.#acked.push({ no, from, atMs: Date.now() });
        this.#net.set(from, (this.#net.get(from) ?? 0) - amount);
        this.#net.set(to, (this.#net.get(to) ?? 0) + amount);
      } catch (error) {
        this.#unknown++;
        this.#errors.push(String(error));
      }
    }
  }

  /** Acknowledged transfers that their account's history does not have: where to look for the loss. */
  async #missing(): Promise<string[]> {
    const missing: string[] = [];
    for (const id of this.#ids) {
      const journaled = new Set((await this.#cluster.client.history(account.kind, id)).map(({ event }) => event["no"]));
      for (const { no, from, atMs } of this.#acked) {
        if (from === id && !journaled.has(no))
          missing.push(`transfer ${no} from ${id}, acknowledged at ${atMs}, is not in the history`);
      }
    }
    return missing;
  }

  async #books(): Promise<Map<string, Balance>> {
    const read = async (id: string) =>
      [
        id,
        (await this.#cluster.client.query(account, id, { deadlineMs: CALL_DEADLINE_MS })).context as Balance,
      ] as const;
    return new Map(await Promise.all(this.#ids.map(read)));
  }
}

function sum(books: ReadonlyMap<string, Balance>, field: keyof Balance): number {
  let total = 0;
  for (const book of books.values()) total += book[field];
  return total;
}
