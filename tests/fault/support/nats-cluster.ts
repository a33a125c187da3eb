/** Three nats-servers with replicated streams, as processes that a test can kill. Invariant: `stop()` leaves none behind. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findServerBinary } from "../../../nats-config/binary.ts";
import { findFreePort, LOOPBACK } from "../../../nats-config/ports.ts";
import { renderServerConfig } from "../../../nats-config/server-config.ts";
import { type ServerProcess, spawnServer, untilReady } from "../../../nats-config/server-process.ts";

const SIZE = 3;

interface Member {
  readonly name: string;
  readonly port: number;
  readonly directory: string;
  readonly configFile: string;
  process: ServerProcess | undefined;
}

export class NatsCluster {
  readonly url: string;
  readonly #binary: string;
  readonly #root: string;
  readonly #members: readonly Member[];

  private constructor(binary: string, root: string, members: readonly Member[]) {
    this.#binary = binary;
    this.#root = root;
    this.#members = members;
    this.url = members.map(({ port }) => `nats://${LOOPBACK}:${port}`).join(",");
  }

  static async start(): Promise<NatsCluster> {
    const binary = (await findServerBinary()).path;
    const root = await mkdtemp(join(tmpdir(), "troupe-cluster-"));
    const ports = new Set<number>();
    while (ports.size < 2 * SIZE) ports.add(await findFreePort());
    const [clients, routes] = [[...ports].slice(0, SIZE), [...ports].slice(SIZE)];
    const members = clients.map((port, i) => {
      const directory = join(root, `nats-${i + 1}`);
      return { name: `nats-${i + 1}`, port, directory, configFile: `${directory}.conf`, process: undefined };
    });
    for (const [i, { name, port, directory, configFile }] of members.entries()) {
      const config = renderServerConfig({
        serverName: name,
        listen: `${LOOPBACK}:${port}`,
        storeDir: directory,
        sync: "interval",
        cluster: {
          name: "fault",
          listen: `${LOOPBACK}:${routes[i]}`,
          routes: routes.map((route) => `nats://${LOOPBACK}:${route}`),
        },
      });
      await writeFile(configFile, config);
    }
    const cluster = new NatsCluster(binary, root, members);
    await Promise.all(cluster.names.map((name) => cluster.startServer(name)));
    return cluster;
  }

  get names(): readonly string[] {
    return this.#members.map(({ name }) => name);
  }

  async startServer(name: string): Promise<void> {
    const member = this.#member(name);
    const { port, directory, configFile } = member;
    member.process = await spawnServer({ binary: this.#binary, configFile, log: () => undefined });
    await untilReady(member.process, { name, port, dataDir: directory });
  }

  /** SIGKILL; resolves when the process is gone. */
  async killServer(name: string): Promise<void> {
    const running = this.#member(name).process;
    if (running === undefined) throw new Error(`The server "${name}" was not started`);
    process.kill(running.pid, "SIGKILL");
    await running.exited;
  }

  async stop(): Promise<void> {
    for (const { process: running } of this.#members) await running?.stop();
    await rm(this.#root, { recursive: true, force: true });
  }

  #member(name: string): Member {
    const found = this.#members.find((member) => member.name === name);
    if (found === undefined) throw new RangeError(`There is no server "${name}"`);
    return found;
  }
}
