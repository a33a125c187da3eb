/** Composition root of the gateway. Invariant: it listens only with a client in hand, and `stop()` finishes what it took. */
import type { Logger } from "pino";
import { connect } from "../runtime/client.ts";
import { systemClock } from "../runtime/clock.ts";
import { VERSION } from "../runtime/version.ts";
import { agentDesk } from "./agent-desk.ts";
import { ListenError } from "./errors.ts";
import { buildServer } from "./server.ts";

const DEFAULT_HOST = "127.0.0.1";
const DEFAULT_PORT = 8_080;
/** How long NATS and a first node may take to come up, in ms: all parts of a deployment start at once. */
const WAIT_MS = 15_000;

export interface GatewayOptions {
  readonly servers: string | string[];
  readonly namespace?: string;
  readonly deviceRoot?: string;
  /** Address to listen on. Default loopback: there is no sign-in yet. */
  readonly host?: string;
  /** 0 picks a free port. */
  readonly port?: number;
  /** Further names in Host headers, for a proxy in front of a loopback address. */
  readonly hostNames?: readonly string[];
  readonly log: Logger;
}

export interface Gateway {
  readonly url: string;
  /** Takes no more, finishes what is in flight, closes. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Connects and listens.
 * @throws {ListenError} The port is taken, or the address is not this machine's.
 * @throws {BrokerUnavailableError} NATS does not answer.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { servers, namespace, deviceRoot, host = DEFAULT_HOST, port = DEFAULT_PORT, hostNames, log } = options;
  const client = await connect({
    servers,
    name: "gateway",
    waitMs: WAIT_MS,
    ...(namespace === undefined ? {} : { namespace }),
    ...(deviceRoot === undefined ? {} : { deviceRoot }),
  });
  try {
    const app = await buildServer({
      client,
      desk: agentDesk(client),
      clock: systemClock,
      log,
      host,
      version: VERSION,
      ...(hostNames === undefined ? {} : { hostNames }),
    });
    const url = await app.listen({ host, port }).catch((cause: unknown) => {
      throw listenError(cause, host, port);
    });
    let stopped: Promise<void> | undefined;
    return {
      url,
      stop: () => (stopped ??= app.close().then(() => client.close())),
    };
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** What listen() reports, with the way out. */
function listenError(cause: unknown, host: string, port: number): Error {
  const where = `port ${port} of "${host}"`;
  const remedy: Readonly<Record<string, string>> = {
    EADDRINUSE: `The ${where} is taken: stop what listens there, or give another port (0 picks a free one)`,
    EACCES: `The ${where} may not be used: give a port from 1024 up, or the right to bind to it`,
    EADDRNOTAVAIL: `The address "${host}" is not one of this machine: give "127.0.0.1", or "0.0.0.0" for all of its addresses`,
    ENOTFOUND: `The host "${host}" is not known: give an address, as "127.0.0.1"`,
  };
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return new ListenError(remedy[code] ?? `Cannot listen on ${where}: ${String(cause)}`, { cause });
}
