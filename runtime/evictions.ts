/**
 * Ending other incarnations that seem dead: silent ones, and those whose connection ended. Invariant: an incarnation is evicted
 * only after its journal was sealed, so one that was suspected in error has lost its place, never an acknowledged input.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Clock } from "./clock.ts";
import { Disconnects } from "./disconnects.ts";
import { TroupeError } from "./errors.ts";
import { sealJournal } from "./journal.ts";
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
    this.#disconnects = new Disconnects({ ...options, onGone: (connection) => this.#onGone(connection) });
  }

  stop(): void {
    this.#isStopped = true;
    this.#disconnects.stop();
  }

  /** @throws {BrokerUnavailableError} Unknown whether it is sealed; call again. */
  async evict(key: string, why: string): Promise<void> {
    const { broker, names, log, me, membership } = this.#o;
    const member = membership.members.get(key);
    if (member === undefined) return;
    await sealJournal(broker, names.stream.journal, names.journal(member.name, member.incarnation), me);
    await membership.evict(key);
    log.info({ node: key, why }, "Evicted an incarnation");
  }

  onSilent(key: string): void {
    this.#disconnects.logUnheard();
    this.#suspect(key, "it is silent");
  }

  #onGone(connection: string): void {
    const { membership, me } = this.#o;
    for (const [key, member] of membership.members)
      if (member.connection === connection && key !== me) this.#suspect(key, "its connection ended");
  }

  #suspect(key: string, why: string): void {
    if (this.#keys.has(key) || this.#isStopped) return;
    this.#keys.add(key);
    this.evict(key, why)
      .then(() => this.#o.onEvicted())
      .catch((error: unknown) => {
        if (!(error instanceof TroupeError)) this.#o.onFailed(error);
        else this.#o.log.warn({ err: error, node: key, why }, "An incarnation cannot be sealed yet: trying again");
      })
      .finally(() => this.#keys.delete(key));
  }
}
