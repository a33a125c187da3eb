/**
 * The deterministic twin of the NATS port, for contract tests and simulation only: a world of one server and any number of
 * nodes, whose wires a test can slow and cut.
 *
 * Invariant: nothing happens but by the clock's timers and by microtasks, in a defined order: same seed, same run.
 */
import type { StreamSpec } from "../nats-config/streams.ts";
import type { StoredMessage } from "./port.ts";
import { MemoryBroker, type MemoryBrokerOptions } from "./port-memory-broker.ts";
import { MemoryServer, type MemoryTap } from "./port-memory-server.ts";

export type { MemoryBroker } from "./port-memory-broker.ts";
export type { MemoryTap } from "./port-memory-server.ts";

export interface MemoryWorldOptions extends MemoryBrokerOptions {
  readonly specs: readonly StreamSpec[];
  readonly tap?: MemoryTap;
}

export interface MemoryWorld {
  /** A new connection; several may have the same name. `own` differs from the world's where the node has its own clock or wire. */
  connect(name: string, own?: Partial<MemoryBrokerOptions>): MemoryBroker;
  addStreams(specs: readonly StreamSpec[]): void;
  /** All that a stream holds, past every wire: for auditors. */
  messages(stream: string): StoredMessage[];
}

export function createMemoryWorld(options: MemoryWorldOptions): MemoryWorld {
  const server = new MemoryServer(options.clock, options.tap);
  server.addStreams(options.specs);
  let connections = 0;
  return {
    connect: (name, own = {}) => {
      connections += 1;
      return new MemoryBroker(server, `${name}-${connections}`, { ...options, ...own });
    },
    addStreams: (specs) => server.addStreams(specs),
    messages: (stream) => server.stream(stream).page({ subject: ">", limit: Number.POSITIVE_INFINITY }),
  };
}
