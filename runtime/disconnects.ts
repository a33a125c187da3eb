/**
 * What the server tells of other nodes' connections, where it may: a killed process is known in milliseconds. Invariant: it only
 * suspects; a node that is back within the grace keeps its incarnation, and of the others the seal of the journal decides.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Clock, TimerHandle } from "./clock.ts";
import { DISCONNECT_GRACE_MS } from "./limits.ts";
import type { Broker, InboundMessage, Subscription } from "./port.ts";

/** Why a connection ended when its process did: anything else was the server's own doing. */
const ENDED_BY_PEER = new Set(["Client Closed", "Read Error", "Write Error"]);

/** A member whose connection ended, and its last renewal before that. */
export interface Suspect {
  readonly key: string;
  readonly revision: number;
}

export interface DisconnectsOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  /** Whose connection of this name is; undefined: no other node's. */
  readonly suspectOf: (connection: string) => Suspect | undefined;
  /** The connection ended and did not come back. */
  readonly onGone: (suspect: Suspect) => void;
}

export class Disconnects {
  readonly #o: DisconnectsOptions;
  readonly #suspects = new Map<string, TimerHandle>();
  readonly #subscriptions: readonly Subscription[];
  /** The server has told something, or its silence was logged. */
  #isSettled = false;

  constructor(options: DisconnectsOptions) {
    this.#o = options;
    const { broker, names } = options;
    this.#subscriptions = [
      broker.subscribe(names.connects, (message) => this.#onConnect(message)),
      broker.subscribe(names.disconnects, (message) => this.#onDisconnect(message)),
    ];
  }

  /** Called when a node was found silent without a word of the server. */
  logUnheard(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#o.log.info(
      "The NATS server tells nothing of connections: silence alone tells of dead nodes. Import its events as server.conf does",
    );
  }

  stop(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    for (const timer of this.#suspects.values()) this.#o.clock.clearTimeout(timer);
    this.#suspects.clear();
  }

  #onConnect(message: InboundMessage): void {
    this.#isSettled = true;
    const { connection } = readEvent(message.data);
    this.#o.clock.clearTimeout(this.#suspects.get(connection));
    this.#suspects.delete(connection);
  }

  #onDisconnect(message: InboundMessage): void {
    this.#isSettled = true;
    const { connection, reason } = readEvent(message.data);
    if (!ENDED_BY_PEER.has(reason) || this.#suspects.has(connection)) return;
    const suspect = this.#o.suspectOf(connection);
    if (suspect === undefined) return;
    const timer = this.#o.clock.setTimeout(() => {
      this.#suspects.delete(connection);
      this.#o.onGone(suspect);
    }, DISCONNECT_GRACE_MS);
    this.#suspects.set(connection, timer);
  }
}

/** Name of the connection, and why it ended; empty what the event does not say. */
function readEvent(data: Uint8Array): { connection: string; reason: string } {
  let event: { client?: { name?: unknown } | null; reason?: unknown } | null;
  try {
    event = JSON.parse(Buffer.from(data).toString()) as typeof event;
  } catch {
    event = null; // whoever may publish there may publish anything
  }
  const name = event?.client?.name;
  const reason = event?.reason;
  return {
    connection: typeof name === "string" ? name : "",
    reason: typeof reason === "string" ? reason : "",
  };
}
