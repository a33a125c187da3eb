/**
 * Events whose topic names a host and no device: no stream takes them, so the nodes listen for them themselves. Invariant: while
 * the host's shard has an owner such an event lies in the dead letters, once; none is taken for an event of a device.
 */
import type { Node } from "../runtime/api.ts";
import type { InboundMessage } from "../runtime/port.ts";
import { storeDead } from "./dead-event.ts";
import type { Pump, PumpDeps } from "./pump.ts";

/** Letters on their way at most: a flood must not crowd out the node's work. At it further ones are dropped, said in the log. */
export const MISADDRESSED_IN_FLIGHT = 64;

const ID_BYTES = 12;

/** All nodes hear such an event; `node` takes those of hosts whose shards it owns. */
export function watchMisaddressed(deps: PumpDeps, node: Node): Pump {
  const { broker, names, log } = deps;
  const inFlight = new Set<Promise<void>>();
  const subscription = broker.subscribe(names.hostEvents, (message) => {
    const [, host = ""] = message.subject.split(".");
    if (isOfDevice(message.subject) || !node.owns({ kind: "device", id: host })) return;
    if (inFlight.size >= MISADDRESSED_IN_FLIGHT) {
      log.warn({ subject: message.subject }, "A misaddressed event was dropped: too many at once");
      return;
    }
    const stored = store(deps, message)
      .catch((error: unknown) => log.warn({ err: error, subject: message.subject }, "A misaddressed event was dropped"))
      .finally(() => inFlight.delete(stored));
    inFlight.add(stored);
  });
  return {
    stop: async () => {
      subscription.unsubscribe();
      await Promise.all(inFlight);
    },
  };
}

/** A device may itself be called "event". */
function isOfDevice(subject: string): boolean {
  const [, , , word, ...rest] = subject.split(".");
  return rest.length > 0 ? word === "event" : word === "heartbeat" || word === "cmd";
}

async function store(deps: PumpDeps, { subject, data }: InboundMessage): Promise<void> {
  const [root] = subject.split(".", 1);
  const id = deps.clock.randomId(ID_BYTES);
  await storeDead(deps, {
    reason: "misaddressed",
    kind: "ingress",
    id,
    cause: `The subject "${subject}" names no device: publish to ${root}.<host>.<device>.event.<type>, over MQTT ${root}/<host>/<device>/event/<type>`,
    timeMs: deps.clock.now(),
    subject,
    data: Buffer.from(data), // the message is gone after the callback
    messageId: `dead-misaddressed-${id}`,
  });
}
