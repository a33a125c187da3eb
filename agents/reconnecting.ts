/**
 * Requests that are asked until they are answered, though NATS, the asked program or its host is restarted meanwhile.
 * Invariant: every sending carries the same idempotency key, so that the work is done once.
 */
import { sleep } from "../runtime/clock.ts";
import { BrokerUnavailableError, BusyError, NoResponderError } from "../runtime/errors.ts";
import { abortable } from "./abortable.ts";
import type { SkillRun } from "./skill.ts";

/** Pause before the same request is sent again, in ms: programs reconnect within a few of them. */
const PAUSE_MS = 100;
/** The asking ends this long before the try's time is up, in ms, so that its reason reaches the task before the time limit does. */
const REPORT_MS = 250;
/** Of a short try at most this part is kept for the report. */
const REPORT_PART = 10;

/** Why there is no answer. `absent`: at the end nobody was there; `silent`: somebody was. What was done is unknown with both. */
export type Unanswered = "absent" | "silent";

/**
 * Asks on `subject` until there is an answer or the try's time is nearly up. `resendMs`: how long one sending waits before
 * it is repeated; a lost connection repeats it at once.
 * @throws {AbortedError} The run's signal fired.
 */
export async function askUntilAnswered(
  run: SkillRun,
  subject: string,
  body: (leftMs: number) => Uint8Array,
  resendMs: number,
): Promise<Uint8Array | Unanswered> {
  const { broker, clock, signal, deadlineAtMs } = run;
  const untilMs = deadlineAtMs - Math.min(REPORT_MS, Math.max(0, deadlineAtMs - clock.now()) / REPORT_PART);
  let why: Unanswered = "silent";
  for (let leftMs = untilMs - clock.now(); leftMs > 0; leftMs = untilMs - clock.now()) {
    try {
      return await abortable(broker.request(subject, body(leftMs), Math.min(resendMs, leftMs)), signal, `"${subject}"`);
    } catch (error) {
      why = unansweredBy(error);
    }
    await sleep(clock, Math.min(PAUSE_MS, leftMs), signal);
  }
  return why;
}

function unansweredBy(error: unknown): Unanswered {
  if (error instanceof NoResponderError) return "absent";
  if (error instanceof BrokerUnavailableError || error instanceof BusyError) return "silent";
  throw error;
}
