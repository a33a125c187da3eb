/**
 * Brings every event of every pool to the pool's router. Invariant: an event is acknowledged only when its router has
 * committed it, so agents get it however often nodes die on the way.
 */
import type { Client } from "../runtime/api.ts";
import { readPooled } from "./event-reader.ts";
import { routerId } from "./messages/router.ts";
import { type Pump, PUMP_CALL_DEADLINE_MS, type PumpDeps, startPump } from "./pump.ts";
import { numbered } from "./pump-sender.ts";
import { routerKind } from "./router.ts";

export function startPoolPump(deps: PumpDeps, client: Client): Promise<Pump> {
  return startPump(deps, {
    name: "pool",
    stream: deps.names.stream.pool,
    durable: "routers",
    subjects: [deps.names.poolAll],
    handle: async (delivery) => {
      const { event, pool } = readPooled(delivery);
      await client.ask(
        routerKind,
        routerId(pool),
        { type: "route", event },
        { deadlineMs: PUMP_CALL_DEADLINE_MS, priority: event.priority, ...numbered("pool", delivery) },
      );
    },
  });
}
