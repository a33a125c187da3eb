/**
 * Real nodes in the test's process, on a real server, each cluster in a namespace of its own. Invariant: a crashed node does
 * nothing more: its connection is cut without a drain and its clock stands still, so no retry, timer or renewal comes after.
 */
import { once } from "node:events";
import type { NatsConnection } from "nats";
import pino from "pino";
import { assign, setup } from "xstate";
import type { Client, Node } from "../../runtime/api.ts";
import { connect } from "../../runtime/client.ts";
import { type Clock, systemClock, type TimerHandle } from "../../runtime/clock.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { startNode } from "../../runtime/node.ts";
import type { NodeOptions } from "../../runtime/node-options.ts";
import { startTestServer, type TestServer } from "./nats.ts";

/** How long a condition may take before the test has failed, in ms. A fail-over by lease takes about 3 s. */
export const PATIENCE_MS = 10_000;
/** Between two looks at a condition, in ms. */
const LOOK_EVERY_MS = 5;

/** Real time that a test can stop for good, or shift. */
export class MortalClock implements Clock {
  /** Added to the wall clock, in ms. */
  skewMs = 0;
  readonly #timers = new Set<TimerHandle>();
  #dead = false;

  now(): number {
    return systemClock.now() + this.skewMs;
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    if (this.#dead) return {};
    const handle = systemClock.setTimeout(() => {
      this.#timers.delete(handle);
      fn();
    }, delayMs);
    this.#timers.add(handle);
    return handle;
  }

  clearTimeout(handle: TimerHandle | undefined): void {
    if (handle === undefined || !this.#timers.delete(handle)) return;
    systemClock.clearTimeout(handle);
  }

  randomId(bytes: number): string {
    return systemClock.randomId(bytes);
  }

  random(): number {
    return systemClock.random();
  }

  die(): void {
    this.#dead = true;
    for (const handle of this.#timers) systemClock.clearTimeout(handle);
    this.#timers.clear();
  }
}

export interface TestNode {
  readonly node: Node;
  readonly clock: MortalClock;
}

export interface ClusterOptions {
  readonly server: TestServer;
  readonly kinds: readonly ActorKind[];
  /** Nodes at the start. Default 1. */
  readonly nodes?: 0 | 1 | 2;
  readonly verifyDeterminism?: boolean;
  /** Added to the nodes' wall clocks, in ms. */
  readonly skewMs?: number;
}

let clusters = 0;

export class TestCluster {
  readonly namespace: string;
  readonly nodes: TestNode[] = [];
  client!: Client;
  /** What nodes that start from now on add to the wall clock, in ms. */
  skewMs: number;
  readonly #options: ClusterOptions;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.skewMs = options.skewMs ?? 0;
    this.namespace = `t${process.pid}-${++clusters}`;
  }

  /** Starts a node; one of the name of a crashed node takes over at once, another one when the lease has ended. */
  async start(
    name: string,
    kinds: readonly ActorKind[] = this.#options.kinds,
    place: Pick<NodeOptions, "labels" | "roles" | "weight"> = {},
  ): Promise<TestNode> {
    const { server, verifyDeterminism = true } = this.#options;
    const clock = new MortalClock();
    clock.skewMs = this.skewMs;
    const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
    const node = await startNode({
      name,
      servers: server.url,
      namespace: this.namespace,
      deviceRoot: `dev-${this.namespace}`,
      kinds,
      verifyDeterminism,
      clock,
      log,
      ...place,
    });
    const started = { node, clock };
    this.nodes.push(started);
    return started;
  }

  async begin(): Promise<this> {
    const { server, nodes = 1 } = this.#options;
    for (let i = 1; i <= nodes; i++) await this.start(`n${i}`);
    if (nodes === 0) return this; // no cluster to connect to: the test starts nodes and a client of its own
    this.client = await connect({
      servers: server.url,
      namespace: this.namespace,
      deviceRoot: `dev-${this.namespace}`,
    });
    return this;
  }

  /** As SIGKILL would: nothing is drained, said or renewed. */
  async crash({ node, clock }: TestNode): Promise<void> {
    clock.die();
    const { connection } = node.client.broker as unknown as { connection: NatsConnection }; // the port hides it
    await connection.close();
    this.nodes.splice(
      this.nodes.findIndex((other) => other.node === node),
      1,
    );
  }

  /** Crashes the (first) node; a new process of its name follows. */
  async restart(kinds?: readonly ActorKind[]): Promise<TestNode> {
    const [first] = this.nodes;
    if (first === undefined) throw new Error("The cluster has no node");
    await this.crash(first);
    return await this.start(first.node.name, kinds);
  }

  async stop(): Promise<void> {
    await this.client.close();
    for (const { node } of this.nodes.splice(0)) await node.stop();
  }
}

export const startCluster = (options: ClusterOptions): Promise<TestCluster> => new TestCluster(options).begin();

/** Runs `fn` with a cluster and stops it after. */
export async function withCluster(
  options: ClusterOptions,
  fn: (cluster: TestCluster, client: Client) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(options);
  try {
    await fn(cluster, cluster.client);
  } finally {
    await cluster.stop();
  }
}

/** A cluster on a server of its own that may be damaged, and everything that would have ended a node's process meanwhile. */
export interface WatchedCluster {
  readonly cluster: TestCluster;
  readonly client: Client;
  readonly crashes: readonly unknown[];
  /** Its nodes are cut off: what a test left behind need not be drained. */
  stop(): Promise<void>;
}

export async function startWatchedCluster(kinds: readonly ActorKind[]): Promise<WatchedCluster> {
  const crashes: unknown[] = [];
  const note = (error: unknown) => void crashes.push(error);
  process.prependListener("uncaughtException", note).prependListener("unhandledRejection", note);
  const server = await startTestServer();
  const cluster = await startCluster({ server, kinds });
  return {
    cluster,
    client: cluster.client,
    crashes,
    stop: async () => {
      process.off("uncaughtException", note).off("unhandledRejection", note);
      for (const node of [...cluster.nodes]) await cluster.crash(node);
      await cluster.stop();
      await server.stop();
    },
  };
}

/** Counts its inputs. */
export const counterKind = defineActor({
  kind: "counter",
  machine: setup({ types: { context: {} as { n: number }, events: {} as { type: "ADD" } } }).createMachine({
    context: { n: 0 },
    on: { ADD: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
  }),
});

/** Looks until `probe` gives something other than undefined or false. @throws The deadline passed. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const endAt = performance.now() + patienceMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endAt) throw new Error(`Not within ${patienceMs} ms: ${what}`);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, LOOK_EVERY_MS);
    });
  }
}

/** Resolves when the signal fires. */
export const onAbort = (signal: AbortSignal): Promise<unknown> => once(signal, "abort");
