/** An actor's event on its way into a pool: CloudEvents in JSON, so that any language can read it. Invariant: the id is stable. */
import type { Names } from "../nats-config/subjects.ts";
import type { Outgoing } from "./actor-state.ts";
import { PRIORITIES } from "./priority.ts";

export function poolMessage(
  names: Names,
  pool: string,
  sender: string,
  message: Outgoing,
): { subject: string; data: Uint8Array; messageId: string } {
  const event = message.event as {
    type: string;
    source?: string;
    id?: string;
    timeMs?: number;
    data?: unknown;
    device?: unknown;
  };
  const priority = PRIORITIES[message.lane] ?? "normal";
  const source = event.source ?? sender;
  const id = event.id ?? `${sender}:${message.seq}`;
  const body = {
    id,
    source,
    type: event.type,
    timeMs: event.timeMs ?? message.timeMs,
    priority,
    data: event.data ?? null,
    device: event.device ?? null,
  };
  return {
    subject: names.pool(pool, priority, event.type),
    data: Buffer.from(JSON.stringify(body)),
    messageId: `${source}/${id}`,
  };
}
