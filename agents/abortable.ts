/** Waiting that ends with a signal. Invariant: after the signal nothing is waited for, and no listener stays. */
import { AbortedError } from "../runtime/errors.ts";

/**
 * The outcome of `work`, unless the signal fires first. `work` itself goes on: its later outcome is dropped.
 * @throws {AbortedError} The signal fired.
 */
export async function abortable<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(new AbortedError(`${what} was aborted`, { cause: signal.reason }));
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
