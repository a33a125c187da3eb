/** Three nats-servers with replicated streams, as processes that a test can kill. Invariant: `stop()` leaves none behind. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findServerBinary } from "../../../nats-config/binary.ts";
import { findFreePort, LOOPBACK } from "../../../nats-config/ports.ts";
import { renderServerConfig } from "../../../nats-config/server-config.ts";
import { type ServerProcess, spawnServer, untilReady } from "../../../nats-config/server-process.ts";

const SIZE = 3;
/** Ports on hosts of their own, where nobody else listens. */
const CLIENT_PORT = 4_222;
const ROUTE_PORT = 6_222;

/** Where one server runs, if not beside the test. */
export interface ServerHost {
  /** What runs a command there: it stands before it. */
  readonly run: readonly string[];
  /** Where the test reaches it. */
  readonly address: string;
  /** Where the other servers reach it. */
  readonly route: string;
}

interface Place {
  /** Where its clients find it. */
  readonly host: string;
  readonly port: number;
  /** `host:port` at which it listens for clients, and for the other servers. */
  readonly listen: string;
  readonly route: string;
  readonly run: readonly string[];
}

interface Member extends Place {
  readonly name: string;
  readonly binary: string;
  readonly directory: string;
  readonly configFile: string;
  process: ServerProcess | undefined;
}

export class NatsCluster {
  readonly #root: string;
  readonly #members: readonly Member[];

  private constructor(root: string, members: readonly Member[]) {
    this.#root = root;
    this.#members = members;
  }

  /** Starts one on each of the three hosts; without hosts, all beside the test. */
  static async start(hosts?: readonly ServerHost[]): Promise<NatsCluster> {
    const binary = (await findServerBinary()).path;
    const root = await mkdtemp(join(tmpdir(), "troupe-cluster-"));
    const places = hosts?.map(placeOn) ?? (await placesHere());
    const members = places.map((place, i) => {
      const name = `nats-${i + 1}`;
      const directory = join(root, name);
      return {
        ...place,
        name,
        directory,
        configFile: `${directory}.conf`,
        binary: `${directory}.sh`,
        process: undefined,
      };
    });
    for (const { name, listen, route, run, directory, configFile, binary: script } of members) {
      const config = renderServerConfig({
        serverName: name,
        listen,
        storeDir: directory,
        sync: "interval",
        cluster: { name: "fault", listen: route, routes: members.map((member) => `nats://${member.route}`) },
      });
      await writeFile(configFile, config);
      await writeFile(script, `#!/bin/sh\nexec ${[...run, binary].join(" ")} "$@"\n`, { mode: 0o700 });
    }
    const cluster = new NatsCluster(root, members);
    await Promise.all(cluster.names.map((name) => cluster.startServer(name)));
    return cluster;
  }

  get url(): string {
    return this.urlOf(...this.names);
  }

  /** Where the test finds these of them. */
  urlOf(...names: readonly string[]): string {
    return names.map((name) => `nats://${this.#member(name).host}:${this.#member(name).port}`).join(",");
  }

  get names(): readonly string[] {
    return this.#members.map(({ name }) => name);
  }

  async startServer(name: string): Promise<void> {
    const member = this.#member(name);
    const { host, port, directory, configFile, binary } = member;
    member.process = await spawnServer({ binary, configFile, log: () => undefined });
    await untilReady(member.process, { name, host, port, dataDir: directory });
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

const placeOn = ({ run, address, route }: ServerHost): Place => ({
  host: address,
  port: CLIENT_PORT,
  listen: `0.0.0.0:${CLIENT_PORT}`,
  route: `${route}:${ROUTE_PORT}`,
  run,
});

async function placesHere(): Promise<Place[]> {
  const ports = new Set<number>();
  while (ports.size < 2 * SIZE) ports.add(await findFreePort());
  const [clients, routes] = [[...ports].slice(0, SIZE), [...ports].slice(SIZE)];
  return clients.map((port, i) => ({
    host: LOOPBACK,
    port,
    listen: `${LOOPBACK}:${port}`,
    route: `${LOOPBACK}:${routes[i]}`,
    run: [],
  }));
}
