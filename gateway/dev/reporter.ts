/** What `troupe dev` tells while it runs: the facts, shown by a view or a line log. Invariant: every list is bounded. */
import type { Clock } from "../../runtime/clock.ts";
import type { LockRow } from "../commands/locks.ts";

/** Happenings kept for the view: more than a tall terminal shows. */
export const HAPPENINGS_LIMIT = 100;

export interface PartFacts {
  readonly name: string;
  readonly state: string;
  readonly pid: number | undefined;
  readonly note: string;
}

export interface Happening {
  readonly timeMs: number;
  /** `event`: something in the lab; others: what dev itself did. */
  readonly topic: string;
  readonly text: string;
}

export interface Addresses {
  readonly nats: string;
  readonly mqtt: string | null;
  readonly gateway: string;
  readonly dataDir: string;
  /** First word of a device's topics. */
  readonly deviceRoot: string;
}

export interface DevFacts {
  readonly parts: ReadonlyMap<string, PartFacts>;
  readonly happenings: readonly Happening[];
  readonly locks: readonly LockRow[];
  readonly addresses: Addresses | undefined;
}

/** Shows the facts. `line` for what just happened, `paint` whenever something changed. */
export interface View {
  line(happening: Happening, data: Readonly<Record<string, unknown>>): void;
  paint(facts: DevFacts): void;
  close(): void;
}

export class Reporter {
  readonly #clock: Clock;
  readonly #view: View;
  readonly #parts = new Map<string, PartFacts>();
  #happenings: readonly Happening[] = [];
  #locks: readonly LockRow[] = [];
  #addresses: Addresses | undefined;

  constructor(clock: Clock, view: View) {
    this.#clock = clock;
    this.#view = view;
  }

  part(facts: PartFacts): void {
    this.#parts.set(facts.name, facts);
    this.say(facts.name, facts.note, { part: facts.name, state: facts.state, pid: facts.pid ?? null });
  }

  say(
    topic: string,
    text: string,
    data: Readonly<Record<string, unknown>> = {},
    timeMs: number = this.#clock.now(),
  ): void {
    const happening = { timeMs, topic, text };
    this.#happenings = [...this.#happenings, happening].slice(-HAPPENINGS_LIMIT);
    this.#view.line(happening, data);
    this.#paint();
  }

  locks(rows: readonly LockRow[]): void {
    this.#locks = rows;
    this.#paint();
  }

  addresses(addresses: Addresses): void {
    this.#addresses = addresses;
    this.#paint();
  }

  close(): void {
    this.#view.close();
  }

  #paint(): void {
    this.#view.paint({
      parts: this.#parts,
      happenings: this.#happenings,
      locks: this.#locks,
      addresses: this.#addresses,
    });
  }
}
