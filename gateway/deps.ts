/** What the routes stand on. Invariant: nothing in it keeps state of the gateway; each read is a message or a query. */
import type { Client } from "../runtime/api.ts";
import type { Clock } from "../runtime/clock.ts";
import type { AgentDesk } from "./agent-desk.ts";

export interface GatewayDeps {
  readonly client: Client;
  readonly desk: AgentDesk;
  readonly clock: Clock;
}
