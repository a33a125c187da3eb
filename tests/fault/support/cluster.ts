/** A cluster of real processes for one run: nats-server, nodes, a client. Invariant: `stop()` leaves no process behind. */
import type { Client, NodeInfo } from "../../../runtime/api.ts";
import { shardOf } from "../../../runtime/address.ts";
import { connect } from "../../../runtime/client.ts";
import { TroupeError } from "../../../runtime/errors.ts";
import { startTestServer, type TestServer } from "../../support/nats.ts";
import { NodeProcess } from "./node-process.ts";
import { until } from "./wait.ts";

/** A fault is healed within this, or the run fails, in ms. */
export const HEAL_DEADLINE_MS = 20_000;
export const NAMESPACE = "fault";

/** What the nodes connect to. */
interface Servers {
  readonly url: string;
  /** Of a single one. */
  readonly embedded?: TestServer["embedded"];
  /** Of each stream. Default 1 for a single server, 3 for others. */
  readonly replicas?: number;
  stop(): Promise<void>;
}

export interface FaultClusterOptions {
  /** What each node runs. Default the fault suite's own kinds. */
  readonly script?: URL;
  /** Taken over by the cluster. Default one of its own. */
  readonly server?: Servers;
  /** Where a node finds the servers, if not at their own addresses. */
  readonly via?: (node: string, url: string) => string;
  /** What runs a command where the node is to be. Default nothing: beside the test. */
  readonly on?: (node: string) => readonly string[];
  /** Its nodes are warm standbys of one another. Default false. */
  readonly standby?: boolean;
}

export class FaultCluster {
  readonly server: Servers;
  readonly nodes: readonly NodeProcess[];
  readonly client: Client;

  private constructor(server: Servers, nodes: readonly NodeProcess[], client: Client) {
    this.server = server;
    this.nodes = nodes;
    this.client = client;
  }

  static async start(nodeCount = 2, options: FaultClusterOptions = {}): Promise<FaultCluster> {
    const { script, via = (_, url) => url, on = () => [], standby = false } = options;
    const server: Servers = options.server ?? (await startTestServer());
    const nodes = Array.from({ length: nodeCount }, (_, i) => {
      const name = `n${i + 1}`;
      const replicas = String(server.replicas ?? (server.embedded === undefined ? 3 : 1));
      const env = {
        FAULT_SERVERS: via(name, server.url),
        FAULT_NAMESPACE: NAMESPACE,
        FAULT_REPLICAS: replicas,
        FAULT_STANDBY: String(standby),
      };
      return new NodeProcess(name, env, script, on(name));
    });
    try {
      await Promise.all(nodes.map((node) => node.start()));
      const cluster = new FaultCluster(server, nodes, await connect({ servers: server.url, namespace: NAMESPACE }));
      await cluster.untilWhole();
      return cluster;
    } catch (error) {
      await Promise.all(nodes.map((node) => node.kill()));
      await server.stop();
      throw error;
    }
  }

  node(name: string): NodeProcess {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new RangeError(`There is no node "${name}"`);
    return found;
  }

  /** Waits until every running node serves and each shard has exactly one of them. */
  async untilWhole(deadlineMs = HEAL_DEADLINE_MS): Promise<readonly NodeInfo[]> {
    const running = this.nodes.filter((node) => node.isRunning).length;
    return await until("every shard to have one owner among the running nodes", deadlineMs, async () => {
      const infos = await this.#nodesIfAny();
      const owned = infos.flatMap((info) => info.shards ?? []);
      // Kinds with a placement have shards of their own besides.
      const numbered = owned.filter((shard) => typeof shard === "number");
      const isWhole =
        infos.length === running && numbered.length === this.client.shards && new Set(owned).size === owned.length;
      return isWhole && infos;
    });
  }

  /** Nobody is found while NATS itself has no leader. */
  async #nodesIfAny(): Promise<readonly NodeInfo[]> {
    try {
      return await this.client.nodes();
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) return [];
      throw error;
    }
  }

  async infoOf(name: string): Promise<NodeInfo | undefined> {
    return (await this.client.nodes()).find((info) => info.name === name);
  }

  /** An id of `kind` that `name` owns just now; `prefix` keeps probes apart. */
  async idOn(name: string, kind: string, prefix: string): Promise<string> {
    return await until(`node "${name}" to own shards`, HEAL_DEADLINE_MS, async () => {
      const shards = new Set((await this.infoOf(name))?.shards ?? []);
      for (let i = 0; shards.size > 0; i++) {
        const id = `${prefix}-${i}`;
        if (shards.has(shardOf(kind, id, this.client.shards))) return id;
      }
      return undefined;
    });
  }

  /** SIGKILLs nats-server; resolves when its supervisor has it up again. */
  async killServer(): Promise<void> {
    const { embedded } = this.server;
    if (embedded === undefined) throw new Error("The cluster's servers are not its own: kill one of them");
    const before = embedded.pid;
    process.kill(before, "SIGKILL");
    await until("nats-server to be restarted", HEAL_DEADLINE_MS, () => embedded.pid !== before);
  }

  /** The last lines of every node, for a failure's report. */
  logs(count = 30): string {
    return this.nodes.map((node) => `--- ${node.name}\n${node.log.slice(-count).join("\n")}`).join("\n");
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) node.thaw();
    await Promise.all(this.nodes.map((node) => node.kill()));
    await this.client.close();
    await this.server.stop();
  }
}
