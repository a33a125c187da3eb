/**
 * What the clients of one history do. Invariant: every call ends, with an answer or with an error that its caller may meet;
 * whoever was answered remembers it.
 */
import type { Client } from "../../runtime/api.ts";
import { sleep } from "../../runtime/clock.ts";
import { TroupeError } from "../../runtime/errors.ts";
import type { Random } from "../fault/support/random.ts";
import type { ProcessClock } from "./process-clock.ts";
import type { Trace } from "./trace.ts";

/** Longer than any fault of a history and the takeover after it, in ms. */
const DEADLINE_MS = 25_000;
/** Actors of each kind: few, so that calls meet. */
const ACTORS = 3;
/** Of so many calls one is poison. */
const POISON_EVERY = 40;

/** Alarms ring after this at most, in ms. */
const SHORT_MS = 1_500;
/** Long ones, in ms: beyond what keeps an idle actor in memory, so its wake-up is the server's. */
const LONG_MS = { from: 11_500, to: 13_000 };
/** Part of the alarms that are long: each makes its history longer. */
const LONG_ALARMS = 0.02;

/** Errors that a caller may meet though nothing is broken. */
const EXPECTED = new Set(["DEADLINE", "BUSY", "STREAM_FULL", "POISON_MESSAGE", "ACTOR_NOT_FOUND", "ACTOR_DONE"]);

export interface LaneDeps {
  readonly name: string;
  readonly client: Client;
  readonly clock: ProcessClock;
  readonly random: Random;
  readonly trace: Trace;
  readonly onBreach: (law: string, text: string) => void;
}

interface Call {
  readonly text: string;
  run(): Promise<unknown>;
}

/** What a lane does. */
export interface LanePlan {
  readonly calls: number;
  /** Between two calls at most, in ms. */
  readonly pauseMs: number;
  /** It only asks: what is stale shows to whoever asks often. */
  readonly isReader?: boolean;
}

/** Makes calls, one after the other. */
export async function runLane(deps: LaneDeps, { calls, pauseMs, isReader = false }: LanePlan): Promise<void> {
  const { name, clock, random, trace, onBreach } = deps;
  for (let i = 0; i < calls; i++) {
    await sleep(clock, random.int(0, pauseMs));
    const call = isReader ? drawQuery(deps) : draw(deps);
    trace.tell(name, () => `> ${call.text}`);
    try {
      const answer = await call.run();
      trace.tell(name, () => `< ${call.text}: ${JSON.stringify(answer) ?? "accepted"}`);
    } catch (error) {
      trace.tell(name, () => `< ${call.text}: ${String(error)}`);
      if (!(error instanceof TroupeError)) throw error;
      if (!EXPECTED.has(error.code)) onBreach("a call meets only errors of its own", `${call.text}: ${String(error)}`);
    }
  }
}

function draw(deps: LaneDeps): Call {
  const { client, random } = deps;
  const one = (prefix: string) => `${prefix}${random.int(0, ACTORS)}`;
  const options = { deadlineMs: DEADLINE_MS };
  const send = (how: "ask" | "tell", kind: string, id: string, event: { readonly type: string }): Call => ({
    text: `${how} ${kind}/${id} ${JSON.stringify(event)}`,
    run: () => client[how](kind, id, event, options),
  });
  const how = random.next() < 0.7 ? "ask" : "tell";
  const dice = random.int(0, 100);
  if (random.int(0, POISON_EVERY) === 0) return send(how, "tally", one("t"), { type: "BOOM" });
  if (dice < 30) return send(how, "tally", one("t"), { type: "INC", by: random.int(1, 10) } as { type: string });
  if (dice < 55)
    return send(how, "account", one("a"), { type: "TRANSFER", to: one("a"), amount: random.int(1, 50) } as {
      type: string;
    });
  if (dice < 65) {
    const event = random.next() < 0.8 ? { type: "SET", ms: alarmMs(random) } : { type: "CANCEL" };
    return send(how, "alarm", one("m"), event);
  }
  if (dice < 75) {
    if (random.next() < 0.8)
      return send(how, "job", one("j"), { type: "START", ms: random.int(1, 1_500) } as { type: string });
    const id = one("j");
    return { text: `abort job/${id}`, run: () => client.abort("job", id, { type: "STOP" }, options) };
  }
  if (dice < 80) return send(how, "feed", "f0", { type: "EMIT" });
  return drawQuery(deps);
}

function alarmMs(random: Random): number {
  return random.next() < LONG_ALARMS ? random.int(LONG_MS.from, LONG_MS.to) : random.int(1, SHORT_MS);
}

function drawQuery({ client, random }: LaneDeps): Call {
  const [kind, prefix] = random.pick([
    ["tally", "t"],
    ["tally", "t"],
    ["account", "a"],
    ["account", "a"],
    ["alarm", "m"],
    ["job", "j"],
  ] as const);
  const id = `${prefix}${random.int(0, ACTORS)}`;
  return { text: `query ${kind}/${id}`, run: () => client.query(kind, id, { deadlineMs: DEADLINE_MS }) };
}
