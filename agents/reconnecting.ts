/**
 * Requests to programs that may just be reconnecting. Invariant: only "nobody is there" is repeated here: then nothing was
 * received, so the same request under the same id can do no harm.
 */
import { sleep, systemClock } from "../runtime/clock.ts";
import { NoResponderError } from "../runtime/errors.ts";

/** After NATS or a host was restarted, its programs are back within this, in ms: reconnect pauses are far shorter. */
export const RECONNECT_GRACE_MS = 3_000;
const PAUSE_MS = 100;

/** @throws {NoResponderError} Nobody was there during the whole grace. */
export async function whilePresent<T>(send: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const endAt = systemClock.monotonic() + RECONNECT_GRACE_MS;
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof NoResponderError) || systemClock.monotonic() >= endAt) throw error;
    }
    await sleep(systemClock, PAUSE_MS, signal);
  }
}
