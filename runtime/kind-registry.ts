/**
 * How every kind of the cluster is placed, so that any node finds any actor's shard. Invariant: written once for each kind, before
 * the first node that hosts it joins, and never changed: a kind placed otherwise would look for its actors in other shards.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { ActorKind } from "./define-actor.ts";
import { DefinitionError, RevisionConflictError } from "./errors.ts";
import { type FixedPlacement, type Shard, shardIn } from "./families.ts";
import type { Broker, StoredMessage, Subscription } from "./port.ts";

/** Kinds of a cluster at most: bounds the first read. */
const MAX_KINDS = 4_096;

type Known = FixedPlacement | null;

export class KindRegistry {
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #shards: number;
  readonly #known = new Map<string, Known>();
  #following: Subscription | undefined;

  constructor(broker: Broker, names: Names, shards: number) {
    this.#broker = broker;
    this.#names = names;
    this.#shards = shards;
  }

  /** Reads what is known. */
  async look(): Promise<this> {
    const { stream, key } = this.#names.kv.meta;
    for (const message of await this.#broker.readLast(stream, key(PREFIX + "*"), MAX_KINDS)) this.#observe(message);
    return this;
  }

  /** Writes down what is new, and follows what others write. @throws {DefinitionError} A kind is placed otherwise here. */
  async register(kinds: readonly ActorKind[]): Promise<void> {
    await this.look();
    for (const { kind, placement } of kinds) if (!this.#known.has(kind)) await this.#write(kind, placement);
    for (const { kind, placement } of kinds) {
      const [known, wanted] = [JSON.stringify(this.#known.get(kind)), JSON.stringify(placement)];
      if (known !== wanted)
        throw new DefinitionError(
          `The kind "${kind}" is placed by ${known} in this cluster, not by ${wanted}, and its actors live there: keep the placement, or rename the kind`,
        );
    }
    const { stream, key } = this.#names.kv.meta;
    const subjects = [key(PREFIX + "*")];
    this.#following = await this.#broker.follow(stream, { subjects, from: "last" }, (message) =>
      this.#observe(message),
    );
  }

  close(): void {
    this.#following?.unsubscribe();
  }

  get kinds(): string[] {
    return [...this.#known.keys()].sort();
  }

  /** Null: the kind shares the numbered shards; undefined: no node ever hosted it. */
  readonly placementOf = (kind: string): Known | undefined => this.#known.get(kind);

  /** An unknown kind would be refused in a numbered shard. */
  readonly shardOf = (kind: string, id: string): Shard =>
    shardIn(kind, id, this.#known.get(kind) ?? null, this.#shards);

  async #write(kind: string, placement: Known): Promise<void> {
    const { stream, key } = this.#names.kv.meta;
    const subject = key(PREFIX + kind);
    try {
      await this.#broker.append(subject, Buffer.from(JSON.stringify(placement)), { expectedLastSubjectSeq: 0 });
      this.#known.set(kind, placement);
    } catch (error) {
      if (!(error instanceof RevisionConflictError)) throw error;
      const first = await this.#broker.getLast(stream, subject); // another node was first
      if (first !== null) this.#observe(first);
    }
  }

  #observe(message: StoredMessage): void {
    const kind = message.subject.slice(this.#names.kv.meta.key(PREFIX).length);
    const placement = readPlacement(message.data);
    if (placement !== undefined && !this.#known.has(kind)) this.#known.set(kind, placement);
  }
}

const PREFIX = "placement.";

/** Undefined: not what a node would write. */
function readPlacement(data: Uint8Array): Known | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data).toString());
  } catch {
    return undefined;
  }
  if (value === null) return null;
  const { roles, label, upTo } = value as Partial<FixedPlacement>;
  const isOurs = Array.isArray(roles) && (label === null || typeof label === "string") && typeof upTo === "string";
  return isOurs ? (value as FixedPlacement) : undefined;
}
