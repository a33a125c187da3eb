/**
 * Ending other incarnations that seem dead: silent ones, and those whose connection ended. Invariant: an incarnation is evicted by
 * compare-and-set over its last renewal before that, so one that has renewed since, and may answer queries, keeps its place.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Clock } from "./clock.ts";
import { Disconnects, type Suspect } from "./disconnects.ts";
import { RevisionConflictError, TroupeError } from "./errors.ts";
import type { Membership } from "./membership.ts";
import type { Broker } from "./port.ts";

export interface EvictionsOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly me: string;
  readonly membership: Membership;
  /** A member is gone: its shards are free to take. */
  readonly onEvicted: () => void;
  readonly onFailed: (error: unknown) => void;
}

export class Evictions {
  readonly #o: EvictionsOptions;
  readonly #disconnects: Disconnects;
  /** Under way. */
  readonly #keys = new Set<string>();
  #isStopped = false;

  constructor(options: EvictionsOptions) {
    this.#o = options;
    this.#disconnects = new Disconnects({
      ...options,
      suspectOf: (connection) => this.#suspectOf(connection),
      onGone: ({ key, revision }) => this.#suspect(key, revision, "its connection ended"),
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#disconnects.stop();
  }

  onSilent(key: string): void {
    this.#disconnects.logUnheard();
    this.#suspect(key, this.#o.membership.revisionOf(key), "it is silent");
  }

  #suspectOf(connection: string): Suspect | undefined {
    const { membership, me } = this.#o;
    for (const [key, member] of membership.members)
      if (member.connection === connection && key !== me) return { key, revision: membership.revisionOf(key) };
    return undefined;
  }

  #suspect(key: string, revision: number, why: string): void {
    if (this.#keys.has(key) || this.#isStopped || !this.#o.membership.members.has(key)) return;
    this.#keys.add(key);
    this.#o.membership
      .evict(key, revision)
      .then(() => {
        this.#o.log.info({ node: key, why }, "Evicted an incarnation");
        this.#o.onEvicted();
      })
      .catch((error: unknown) => {
        if (!(error instanceof TroupeError)) this.#o.onFailed(error);
        else if (!(error instanceof RevisionConflictError))
          this.#o.log.warn({ err: error, node: key, why }, "An incarnation cannot be evicted yet: trying again");
      })
      .finally(() => this.#keys.delete(key));
  }
}
