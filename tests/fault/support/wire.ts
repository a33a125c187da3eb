/** A wire between a process and a server that a test can cut: bytes stop, and neither end hears of it. Invariant: `close()` ends all. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { findFreePort, LOOPBACK } from "../../../nats-config/ports.ts";

export class Wire {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(port: number, server: Server) {
    this.url = `nats://${LOOPBACK}:${port}`;
    this.#server = server;
  }

  static async to(port: number): Promise<Wire> {
    const own = await findFreePort();
    const server = createServer();
    const wire = new Wire(own, server);
    server.on("connection", (socket) => wire.#carry(socket, connect(port, LOOPBACK)));
    await new Promise<void>((resolve) => server.listen(own, LOOPBACK, resolve));
    return wire;
  }

  /** As a network that parts: what is sent from now on waits, and so do new connections. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** As TCP does when the network is whole again: what waited arrives. */
  heal(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #carry(inner: Socket, outer: Socket): void {
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.on("data", (bytes) => to.write(bytes));
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      if (this.#isCut) from.pause();
    }
  }
}
