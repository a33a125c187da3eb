/** What befalls the processes of one history. Invariant: what was drawn depends on the seed alone, and every fault ends by itself. */
import type { SimClock } from "../../runtime/testkit/sim-clock.ts";
import type { Random } from "../fault/support/random.ts";
import type { SimProcess } from "./process.ts";

/** Longest freeze, cut or time until a restart, in ms: well past the end of a lease. */
const LONGEST_MS = 4_500;
/** Appends that are lost in a row at most. */
const MOST_LOST = 4;
/** One way of a slow wire, in ms at most: longer than a renewal of the lease may take, shorter than the lease. */
const SLOWEST_MS = 600;

type Fault = "crash" | "crash-and-back" | "freeze" | "cut" | "lose" | "drain" | "slow";
const FAULTS: readonly Fault[] = ["crash", "crash-and-back", "freeze", "freeze", "cut", "cut", "lose", "drain", "slow"];

/** Lets one fault of the seed's choice befall one of `processes`. */
export function strike(clock: SimClock, random: Random, processes: readonly SimProcess[]): void {
  const process = random.pick(processes);
  const fault = random.pick(FAULTS);
  // Most are short, some long: short ones meet takeovers half-way.
  const forMs = Math.round(LONGEST_MS * random.next() ** 2);
  const later = (fn: () => void) => clock.setTimeout(fn, forMs);
  if (!process.isUp) {
    process.start();
    return;
  }
  switch (fault) {
    case "crash":
      process.crash();
      later(() => process.start());
      return;
    case "crash-and-back":
      process.crash();
      process.start();
      return;
    case "freeze":
      process.freeze();
      later(() => process.thaw());
      return;
    case "cut":
      process.cut({ lose: random.pick(["request", "ack"]), noticed: random.next() < 0.5 });
      later(() => process.join());
      return;
    case "lose":
      process.loseAppends(random.pick(["request", "ack"]), random.int(1, MOST_LOST + 1));
      return;
    case "drain":
      process.stop();
      later(() => process.start());
      return;
    case "slow": {
      const { min, max } = process.wire;
      const slow = random.int(max, SLOWEST_MS);
      Object.assign(process.wire, { min: random.int(0, slow), max: slow });
      later(() => Object.assign(process.wire, { min, max }));
      return;
    }
  }
}
