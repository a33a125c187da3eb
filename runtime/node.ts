/**
 * A node: joins the cluster, serves its share, leaves in good order. Invariant: a sealed or lost incarnation is abandoned
 * whole and followed by a new one; the process never carries uncommitted state across.
 */
import { hostname } from "node:os";
import pino, { type Logger } from "pino";
import { applyStreams } from "../nats-config/apply.ts";
import { streamSpecs } from "../nats-config/streams.ts";
import { makeNames, type Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import { type Address, shardOf } from "./address.ts";
import type { Client, LiveNodeInfo, Node } from "./api.ts";
import { clientOn } from "./client.ts";
import { type Clock, systemClock, type TimerHandle } from "./clock.ts";
import { ensureClusterFacts } from "./cluster-facts.ts";
import { decode } from "./codec.ts";
import { checkNameFree } from "./discovery.ts";
import { encodeError, encodeValue } from "./envelope.ts";
import { DeadlineError, PayloadError, TroupeError } from "./errors.ts";
import { inOrder, type Role, ROLES, type Shard } from "./families.ts";
import {
  type LocalNodeOptions,
  type NodeOptions,
  checkName,
  checkRoles,
  checkWeight,
  hostedKinds,
} from "./node-options.ts";
import { isInbox } from "./inbox.ts";
import { HealthMeter } from "./health.ts";
import { Incarnation } from "./incarnation.ts";
import { KindRegistry } from "./kind-registry.ts";
import { ATTEMPT_TIMEOUT_MS, NODE_LIST_LIMIT, RETRY_MAX_MS, STOP_DEADLINE_MS } from "./limits.ts";
import type { Broker, InboundMessage } from "./port.ts";
import { connectBroker } from "./port-nats.ts";
import { changedActors } from "./recent.ts";
import { refusalOf } from "./refusal.ts";
import type { RunnableKind } from "./runnable.ts";
import { VERSION } from "./version.ts";
import { versionsOf } from "./versions.ts";

/**
 * Starts a node; resolves when it serves its share of the shards.
 * @throws {BrokerUnavailableError} No NATS server within `waitMs`. @throws {AddressError} The name is not valid.
 * @throws {DefinitionError} A kind is given twice or placed otherwise in this cluster; a role or the weight is not valid.
 * @throws {NameTakenError} Another live process runs under this name.
 */
export async function startNode(options: NodeOptions): Promise<Node> {
  checkName(options.name);
  const clock = options.clock ?? systemClock;
  const broker = await connectBroker({
    servers: options.servers,
    // Its own for each process: others know it by this name when the server tells of its end.
    name: `troupe-${options.name}-${clock.randomId(6)}`,
    clock,
    waitMs: options.waitMs ?? 10_000,
  });
  try {
    await applyStreams(broker.connection, streamSpecs(makeNames(options), { replicas: options.replicas ?? 1 }));
    return await startNodeOn(broker, { ...options, clock });
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** As {@link startNode}, on a connection to a server that has the cluster's streams. The node closes it when it stops. */
export async function startNodeOn(broker: Broker, options: LocalNodeOptions): Promise<Node> {
  const names = makeNames(options);
  const clock = options.clock ?? systemClock;
  const { shards } = await ensureClusterFacts(broker, names, clock);
  const node = new TroupeNode(options, broker, names, shards, clock);
  await node.start();
  return node;
}

/** From anybody; `connection`: of the process whose answer is wanted. */
type Question = Readonly<Partial<Record<"info" | "list" | "changed" | "connection", unknown>>>;

class TroupeNode implements Node {
  readonly name: string;
  readonly client: Client;
  readonly #options: LocalNodeOptions;
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #shards: number;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #kinds: ReadonlyMap<string, RunnableKind>;
  readonly #roles: readonly Role[];
  readonly #weight: number;
  readonly #registry: KindRegistry;
  readonly #health: HealthMeter;
  readonly #startedAtMs: number;
  readonly #listeners: ((gained: readonly Shard[], lost: readonly Shard[]) => void)[] = [];
  #current!: Incarnation;
  #ended: Incarnation | undefined;
  #id = "";
  #stopping: Promise<void> | undefined;
  #restart: TimerHandle | undefined;

  constructor(options: LocalNodeOptions, broker: Broker, names: Names, shards: number, clock: Clock) {
    this.name = options.name;
    this.#options = options;
    this.#broker = broker;
    this.#names = names;
    this.#shards = shards;
    this.#clock = clock;
    this.#log = (options.log ?? pino({ level: "warn" })).child({ node: options.name });
    this.#roles = checkRoles(options.roles ?? ROLES);
    this.#weight = checkWeight(options.weight ?? 1);
    this.#kinds = hostedKinds(options.kinds, this.#roles);
    this.#registry = new KindRegistry(broker, names, shards);
    this.#health = new HealthMeter(clock, () => {
      const { committer, poisons } = this.#current.engine;
      return { inputs: committer.inputs, poisons };
    });
    this.#startedAtMs = clock.now();
    this.client = clientOn(broker, names, shards, clock);
  }

  get incarnation(): string {
    return this.#id;
  }

  async start(): Promise<void> {
    await checkNameFree(this.#broker, this.#names, { name: this.name });
    await this.#registry.register(this.#options.kinds);
    this.#broker.subscribe(this.#names.node(this.name), (message) => this.#answer(message));
    try {
      await this.#begin(true);
      this.#health.start();
    } catch (error) {
      this.#stopping = Promise.resolve();
      this.#current.abandon();
      throw error;
    }
  }

  ownedShards(): readonly Shard[] {
    return [...this.#current.engine.owned].sort(inOrder);
  }

  shardOf({ kind, id }: Address): Shard {
    return this.#registry.shardOf(kind, id);
  }

  owns(address: Address): boolean {
    return this.#current.answersFor(this.shardOf(address), shardOf(address.kind, address.id, this.#shards));
  }

  onShards(listener: (gained: readonly Shard[], lost: readonly Shard[]) => void): void {
    this.#listeners.push(listener);
  }

  info(): LiveNodeInfo {
    const { engine } = this.#current;
    return {
      ...this.#identity(),
      startedAtMs: this.#startedAtMs,
      shards: this.ownedShards(),
      activations: engine.activations.size,
      queued: engine.scheduler.letters,
      rounds: engine.committer.rounds,
      inputs: engine.committer.inputs,
      memoryBytes: process.memoryUsage.rss(),
      refusal: refusalOf(engine)?.message ?? null,
      health: this.#health.latest,
      state: this.#stopping === undefined ? "alive" : "leaving",
    };
  }

  #identity() {
    return {
      name: this.name,
      incarnation: this.#id,
      pid: process.pid,
      host: hostname(),
      version: VERSION,
      kinds: [...this.#kinds.keys()],
      labels: this.#options.labels ?? {},
      roles: this.#roles,
      weight: this.#weight,
    };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#drain();
    return this.#stopping;
  }

  async #drain(): Promise<void> {
    this.#clock.clearTimeout(this.#restart);
    this.#health.stop();
    const incarnation = this.#current;
    try {
      await this.#within(STOP_DEADLINE_MS, async () => {
        await incarnation.drain();
        await this.#broker.flush();
      });
    } catch (error) {
      // Without NATS there is nothing to give away: the others will seal and take over.
      this.#log.warn({ err: error }, "Left without releasing the shards");
      incarnation.abandon();
    }
    this.#registry.close();
    await this.#broker.close();
  }

  async #within(deadlineMs: number, work: () => Promise<void>): Promise<void> {
    let timer: TimerHandle | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = this.#clock.setTimeout(
        () => reject(new DeadlineError(`The node did not drain within ${deadlineMs} ms`)),
        deadlineMs,
      );
    });
    try {
      await Promise.race([work(), late]);
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }

  async #begin(isFirst: boolean): Promise<void> {
    this.#id = this.#clock.randomId(6);
    const facts = { ...this.#identity(), connection: this.#broker.name, versions: versionsOf(this.#kinds) };
    const beganAtMs = this.#clock.monotonic();
    const incarnation: Incarnation = new Incarnation({
      broker: this.#broker,
      clock: this.#clock,
      names: this.#names,
      log: this.#log,
      shards: this.#shards,
      facts,
      kinds: this.#kinds,
      registry: this.#registry,
      standby: this.#options.standby ?? false,
      verifyDeterminism: this.#options.verifyDeterminism ?? false,
      sendRemote: (kind, id, body) =>
        this.#broker.request(this.#names.act(shardOf(kind, id, this.#shards), kind, id), body, ATTEMPT_TIMEOUT_MS),
      onShards: (gained, lost) => {
        for (const listener of this.#listeners) listener(gained, lost);
      },
      onFailed: (error) => this.#failed(incarnation, beganAtMs, error),
    });
    this.#current = incarnation;
    try {
      await incarnation.start(isFirst);
      this.#log.info({ incarnation: this.#id, shards: incarnation.engine.owned.size }, "Node is up");
    } catch (error) {
      if (isFirst) throw error;
      this.#failed(incarnation, beganAtMs, error);
    }
  }

  /** Called once or more for an incarnation that ended; begins the next one once. */
  #failed(incarnation: Incarnation, beganAtMs: number, error: unknown): void {
    if (incarnation !== this.#current || incarnation === this.#ended) return;
    this.#ended = incarnation;
    this.#log.error({ err: error, incarnation: this.#id }, "Incarnation ended: uncommitted work is void, joining anew");
    const lost = this.ownedShards();
    incarnation.abandon();
    for (const listener of this.#listeners) listener([], lost);
    if (this.#stopping !== undefined) return;
    // One that ended at once would end at once again: the pause keeps a node without NATS from spinning.
    const pause = this.#clock.monotonic() - beganAtMs < RETRY_MAX_MS ? RETRY_MAX_MS : 0;
    this.#restart = this.#clock.setTimeout(() => {
      if (this.#stopping === undefined) void this.#begin(false);
    }, pause);
  }

  #answer({ reply, data }: InboundMessage): void {
    if (reply === undefined || !isInbox(reply)) return;
    try {
      const question = (decode(data) ?? {}) as Question;
      if ((question.connection ?? this.#broker.name) !== this.#broker.name) return; // another process under this name answers itself
      this.#broker.answer(reply, encodeValue(this.#answerTo(question)));
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      this.#broker.answer(reply, encodeError(error));
    }
  }

  #answerTo({ info, list, changed }: Question): unknown {
    if (info === true) return this.info();
    if (typeof list === "string") {
      const listed = this.#live(list).slice(0, NODE_LIST_LIMIT);
      return { node: this.name, ids: listed.map((a) => a.address.id) };
    }
    if (typeof changed === "string") return changedActors(this.name, this.#live(changed));
    throw new PayloadError('A node answers { info: true }, { list: "<kind>" } and { changed: "<kind>" }');
  }

  #live(kind: string): Activation[] {
    return [...this.#current.engine.activations.values()].filter(
      (a) => a.address.kind === kind && a.phase === "live" && a.state.revision > 0,
    );
  }
}
