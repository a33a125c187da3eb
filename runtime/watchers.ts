/**
 * Live views. Invariant: a watcher sees only committed states, the latest wins, and a watcher that does not renew is dropped.
 */
import type { Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import type { Clock } from "./clock.ts";
import type { EventLike } from "./envelope.ts";
import { encodeValue } from "./envelope.ts";
import { MAX_WATCHERS, WATCH_TTL_MS } from "./limits.ts";
import type { Broker } from "./port.ts";
import { BusyError } from "./errors.ts";

export class Watchers {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #names: Names;
  readonly #node: string;
  readonly #changed = new Set<Activation>();

  constructor(options: { broker: Broker; clock: Clock; names: Names; node: string }) {
    this.#broker = options.broker;
    this.#clock = options.clock;
    this.#names = options.names;
    this.#node = options.node;
  }

  /** Adds or renews a watcher. @throws {BusyError} The actor has too many. */
  add(activation: Activation, inbox: string): void {
    activation.watchers ??= new Map();
    if (activation.watchers.size >= MAX_WATCHERS) activation.isWatched(this.#clock.monotonic());
    if (!activation.watchers.has(inbox) && activation.watchers.size >= MAX_WATCHERS) {
      throw new BusyError(`Actor "${activation.key}" has ${MAX_WATCHERS} watchers: query it instead`);
    }
    activation.watchers.set(inbox, { expiresAtMs: this.#clock.monotonic() + WATCH_TTL_MS });
  }

  /** Notes a committed change; several in one round become one message. */
  changed(activation: Activation, emitted: readonly EventLike[]): void {
    if (activation.watchers !== null || activation.kind.publishStatus) this.#changed.add(activation);
    const { kind, id } = activation.address;
    for (const event of emitted) this.#publish(activation, { type: "emitted", kind, id, event });
  }

  /** Sends what changed. A state that holds uncommitted inputs waits for their round. */
  flush(): void {
    for (const activation of this.#changed) {
      if (!activation.isCommitted) continue;
      this.#changed.delete(activation);
      if (activation.phase === "live") this.#send(activation);
    }
  }

  #send(activation: Activation): void {
    const view = activation.view(this.#node);
    if (activation.watchers !== null) {
      const bytes = encodeValue(view);
      const now = this.#clock.monotonic();
      for (const [inbox, watcher] of activation.watchers) {
        if (watcher.expiresAtMs < now) activation.watchers.delete(inbox);
        else this.#broker.publish(inbox, bytes);
      }
    }
    const { kind, id, status, value, revision } = view;
    if (activation.kind.publishStatus) this.#publish(activation, { type: "state", kind, id, status, value, revision });
  }

  #publish(activation: Activation, body: unknown): void {
    const { kind, id } = activation.address;
    const data = Buffer.from(JSON.stringify(body));
    // Bytes grow many times over as JSON. A live view may miss what its server cannot carry; the actor must not.
    if (data.length <= this.#broker.maxPayload) this.#broker.publish(this.#names.status(kind, id), data);
  }
}
