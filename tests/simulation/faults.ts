/** What befalls the processes of one history. Invariant: what was drawn depends on the seed alone, and every fault ends by itself. */
import type { SimClock } from "../../runtime/testkit/sim-clock.ts";
import type { Random } from "../fault/support/random.ts";
import type { SimProcess } from "./process.ts";
import type { SimClient } from "./sim-client.ts";

/** Longest freeze, cut or time until a restart, in ms: well past the end of a lease. */
const LONGEST_MS = 4_500;
/** Appends that are lost in a row at most. */
const MOST_LOST = 4;
/** One way of a slow wire, in ms at most: longer than a renewal of the lease may take, shorter than the lease. */
const SLOWEST_MS = 600;

export interface Victims {
  readonly clock: SimClock;
  readonly processes: readonly SimProcess[];
  readonly clients: readonly SimClient[];
  /** The journal takes nothing more, or does again. */
  readonly setFull: (isFull: boolean) => void;
}

type Later = (fn: () => void) => void;

const nodeFaults: readonly ((victim: SimProcess, random: Random, later: Later) => void)[] = [
  (victim, _random, later) => {
    victim.crash();
    later(() => victim.start());
  },
  (victim) => {
    victim.crash();
    victim.start();
  },
  freeze,
  freeze,
  cut,
  cut,
  (victim, random) => victim.loseAppends(random.pick(["request", "ack"]), random.int(1, MOST_LOST + 1)),
  (victim, _random, later) => {
    victim.stop();
    later(() => victim.start());
  },
  (victim, random, later) => {
    const { min, max } = victim.wire;
    const slow = random.int(max, SLOWEST_MS);
    Object.assign(victim.wire, { min: random.int(0, slow), max: slow });
    later(() => Object.assign(victim.wire, { min, max }));
  },
];

const clientFaults: readonly ((victim: SimClient, random: Random, later: Later) => void)[] = [
  freeze,
  cut,
  (victim) => victim.kill(),
];

const worldFaults: readonly ((victims: Victims, random: Random, later: Later) => void)[] = [
  // The server restarts: all are cut off at once.
  ({ processes, clients }, random, later) => {
    for (const one of [...processes, ...clients]) cut(one, random, later);
  },
  ({ processes }, _random, later) => {
    for (const one of processes) one.crash();
    later(() => {
      for (const one of processes) one.start();
    });
  },
  ({ setFull }, _random, later) => {
    setFull(true);
    later(() => setFull(false));
  },
];

function freeze(victim: SimProcess | SimClient, _random: Random, later: Later): void {
  victim.freeze();
  later(() => victim.thaw());
}

/** Longest break of a connection that the node is back from while its lease is good, in ms. */
const BLINK_MS = 700;

/** A connection breaks and is soon there again. */
function blink(victim: SimProcess, random: Random, clock: SimClock): void {
  victim.cut({ lose: "request", noticed: true });
  clock.setTimeout(() => victim.join(), random.int(1, BLINK_MS));
}

function cut(victim: SimProcess | SimClient, random: Random, later: Later): void {
  victim.cut({ lose: random.pick(["request", "ack"]), noticed: random.next() < 0.5 });
  later(() => victim.join());
}

/** Lets one fault of the seed's choice befall one of the victims, or all. */
export function strike(victims: Victims, random: Random): void {
  // Most are short, some long: short ones meet takeovers half-way.
  const forMs = Math.round(LONGEST_MS * random.next() ** 2);
  const later: Later = (fn) => victims.clock.setTimeout(fn, forMs);
  const dice = random.next();
  if (dice < 0.08) random.pick(worldFaults)(victims, random, later);
  else if (dice < 0.16) random.pick(clientFaults)(random.pick(victims.clients), random, later);
  else {
    const victim = random.pick(victims.processes);
    if (!victim.isUp) victim.start();
    else if (random.next() < 0.15) blink(victim, random, victims.clock);
    else random.pick(nodeFaults)(victim, random, later);
  }
}
