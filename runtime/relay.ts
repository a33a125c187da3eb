/**
 * The front door of actors whose kind has shards of its own. Callers know only an address and send to its numbered shard; the owner
 * of that shard passes the message on. Invariant: it answers for the actor's owner only where there is none: a shard that nobody
 * has asked for yet, or a host that is gone.
 */
import type { Names } from "../nats-config/subjects.ts";
import { encodeError } from "./envelope.ts";
import {
  ActorNotFoundError,
  BusyError,
  HostOfflineError,
  NoResponderError,
  RevisionConflictError,
  TroupeError,
} from "./errors.ts";
import { partsOfShard } from "./families.ts";
import type { KindRegistry } from "./kind-registry.ts";
import { ATTEMPT_TIMEOUT_MS, MAX_OWN_SHARDS } from "./limits.ts";
import type { MemberFacts } from "./membership.ts";
import { Ranking } from "./placement.ts";
import type { Broker } from "./port.ts";
import type { ShardTable } from "./shard-table.ts";

export interface RelayOptions {
  readonly broker: Broker;
  readonly names: Names;
  readonly registry: KindRegistry;
  readonly table: ShardTable;
  readonly members: () => ReadonlyMap<string, MemberFacts>;
  /** A shard came to be: somebody should take it. */
  readonly onCreated: () => void;
}

export interface PassedOn {
  readonly lane: "act" | "query" | "control";
  readonly kind: string;
  readonly id: string;
  readonly body: Uint8Array;
}

export class Relay {
  readonly #o: RelayOptions;

  constructor(options: RelayOptions) {
    this.#o = options;
  }

  /** Resolves with the owner's answer, or with the error that stands for it. */
  async pass(shard: string, message: PassedOn): Promise<Uint8Array> {
    try {
      return await this.#pass(shard, message);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      return encodeError(error);
    }
  }

  async #pass(shard: string, { lane, kind, id, body }: PassedOn): Promise<Uint8Array> {
    const { broker, names, registry, table, members } = this.#o;
    const subject = names[lane](shard, kind, id);
    const record = table.entries.get(shard)?.record;
    if (record === undefined) {
      if (lane === "query")
        throw new ActorNotFoundError(`No message ever reached "${kind}/${id}": send one, or check the id`);
      await this.#create(shard);
      throw new NoResponderError(subject);
    }
    if (record.owner !== null && members().has(record.owner))
      return await broker.request(subject, body, ATTEMPT_TIMEOUT_MS);
    if (record.isPinned === true && new Ranking(members(), registry.placementOf).ownerOf(shard, true) === undefined) {
      const { value } = partsOfShard(shard);
      const label = registry.placementOf(kind)?.label ?? "label";
      throw new HostOfflineError(
        `Actor "${kind}/${id}" lives where ${label}=${value}, and no such node is up: start it, or try again later`,
      );
    }
    throw new NoResponderError(subject);
  }

  /** The first message for a value of a label: from now on its shard is placed. */
  async #create(shard: string): Promise<void> {
    const { table, onCreated } = this.#o;
    if (table.entries.size >= MAX_OWN_SHARDS)
      throw new BusyError(`The cluster has ${MAX_OWN_SHARDS} shards, none for "${shard}": are its ids valid?`);
    try {
      await table.write(shard, { owner: null, epoch: 0, checkpoint: 0, journals: [], busy: [] }, undefined);
    } catch (error) {
      if (!(error instanceof RevisionConflictError)) throw error; // another node was first
    }
    onCreated();
  }
}
