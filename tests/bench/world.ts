/** A server with one sync setting, the bench as its client, and the workers. Invariant: `close()` ends all of them. */
import type { Client } from "../../runtime/api.ts";
import { connect } from "../../runtime/client.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { Worker } from "./process.ts";

/** `always`: an fsync per acknowledgement; `interval`: the page cache, which a killed server survives. */
export type Sync = "always" | "interval";

export class World {
  readonly sync: Sync;
  readonly server: TestServer;
  readonly #workers: Worker[] = [];
  readonly #clients: Client[] = [];

  private constructor(sync: Sync, server: TestServer) {
    this.sync = sync;
    this.server = server;
  }

  static async open<T>(sync: Sync, run: (world: World) => Promise<T>): Promise<T> {
    const world = new World(sync, await startTestServer({ sync }));
    try {
      return await run(world);
    } finally {
      await world.#close();
    }
  }

  get serverPid(): number {
    return this.server.embedded.pid;
  }

  async worker(file: string, ...args: string[]): Promise<Worker> {
    const worker = await Worker.start(file, [this.server.url, ...args]);
    this.#workers.push(worker);
    return worker;
  }

  async client(): Promise<Client> {
    const client = await connect({ servers: this.server.url });
    this.#clients.push(client);
    return client;
  }

  async #close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const worker of this.#workers) await worker.stop();
    await this.server.stop();
  }
}
