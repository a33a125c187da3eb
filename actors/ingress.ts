/**
 * Takes in what devices and other sources published, and files it into pools. Invariant: an event leaves INGRESS only
 * when it stands in its pool and its device has been told, or when it lies in the dead letters.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Client } from "../runtime/api.ts";
import type { Delivery } from "../runtime/port.ts";
import { deviceKind } from "./device.ts";
import { type PooledEvent, readIngress } from "./event-reader.ts";
import { deviceId, eventKey } from "./messages/event.ts";
import { type Pump, PUMP_CALL_DEADLINE_MS, type PumpDeps, startPump } from "./pump.ts";
import { numbered } from "./pump-sender.ts";

export function startIngress(deps: PumpDeps, client: Client): Promise<Pump> {
  const { broker, names } = deps;
  return startPump(deps, {
    name: "ingress",
    stream: names.stream.ingress,
    durable: "ingress",
    subjects: [names.deviceEvents, names.ingressAll],
    handle: async (delivery) => {
      const pooled = readIngress(delivery, names);
      const { subject, data, messageId } = poolRecord(pooled, names);
      await broker.append(subject, data, { messageId });
      await tellDevice(client, pooled, delivery);
    },
  });
}

async function tellDevice(client: Client, { event }: PooledEvent, delivery: Delivery): Promise<void> {
  if (event.device === null) return;
  await client.tell(
    deviceKind,
    deviceId(event.device),
    { type: "observed", event },
    { deadlineMs: PUMP_CALL_DEADLINE_MS, priority: event.priority, ...numbered("ingress", delivery) },
  );
}

/** The event as it stands in its pool. */
export function poolRecord(
  { event, pool }: PooledEvent,
  names: Names,
): { subject: string; data: Uint8Array; messageId: string } {
  return {
    subject: names.pool(pool, event.priority, event.type),
    data: Buffer.from(JSON.stringify(event)),
    messageId: headerText(eventKey(event)),
  };
}

const PLAIN = /^[!-~]+$/;

/** Header values are printable ASCII: other names are written in percent form, which keeps different ones different. */
const headerText = (text: string): string =>
  PLAIN.test(text) && !text.includes("%") ? text : encodeURIComponent(text.toWellFormed());
