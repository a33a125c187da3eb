/** What happened in one history, for a person to read. Invariant: telling changes nothing, so a traced run is the run that failed. */
import type { SimClock } from "../../runtime/testkit/sim-clock.ts";

/** Width of the columns for time and teller, in characters. */
const TIME_WIDTH = 9;
const WHO_WIDTH = 10;

export class Trace {
  readonly #clock: SimClock;
  readonly #write: ((line: string) => void) | undefined;

  constructor(clock: SimClock, write: ((line: string) => void) | undefined) {
    this.#clock = clock;
    this.#write = write;
  }

  get isOn(): boolean {
    return this.#write !== undefined;
  }

  /** `text` is a function so that a silent run builds no strings. */
  tell(who: string, text: () => string): void {
    this.#write?.(`${this.#clock.monotonic().toFixed(0).padStart(TIME_WIDTH)}  ${who.padEnd(WHO_WIDTH)}  ${text()}`);
  }
}
