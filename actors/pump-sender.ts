/** How a pump numbers its calls by its stream. Invariant: a first delivery takes effect once however often its call is repeated. */
import type { CallOptions } from "../runtime/api.ts";
import type { Delivery } from "../runtime/port.ts";

/** Numbers behind the newest that a receiver remembers: all that the nodes can have in flight at once, with room. */
export const PUMP_WINDOW = 1_024;

/**
 * The `from` of a call. A message that the server delivers again is sent unnumbered: its number may lie below the window,
 * where it would be taken for settled and lost. Then the event's own `(source, id)` tells duplicates apart.
 */
export function numbered(sender: string, delivery: Pick<Delivery, "seq" | "attempt">): Pick<CallOptions, "from"> {
  if (delivery.attempt > 1) return {};
  return { from: { sender, seq: delivery.seq, low: Math.max(1, delivery.seq - PUMP_WINDOW) } };
}
