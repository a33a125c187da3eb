/**
 * Reads without a write. Invariant: an answer shows committed state only, and only while the node's lease is good or marked as
 * stale for who allows it; a question alone creates no actor.
 */
import type { Activation } from "./activation.ts";
import type { Engine } from "./engine.ts";
import { encodeError, encodeValue } from "./envelope.ts";
import { ActorNotFoundError, BusyError, TroupeError } from "./errors.ts";

/** A question to an actor: its state, and on the way perhaps to watch it, or to write its history down first. */
export interface Query {
  readonly watch?: string;
  readonly save?: boolean;
  /** Takes what is in memory though the lease is not good. */
  readonly stale?: boolean;
}

interface Waiting {
  readonly query: Query;
  readonly respond: (answer: Uint8Array) => void;
}

/** Questions that wait for one actor to load at most. At it: busy. */
const MAX_WAITING = 1_024;

export class Queries {
  readonly #engine: Engine;
  readonly #waiting = new Map<Activation, Waiting[]>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  ask(kind: string, id: string, query: Query, respond: (answer: Uint8Array) => void): void {
    try {
      const activation = this.#engine.activate(kind, id);
      if (activation.phase === "live") this.#answer(activation, { query, respond });
      else this.#wait(activation, { query, respond });
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
  }

  onLive(activation: Activation): void {
    for (const waiting of this.#take(activation)) {
      try {
        this.#answer(activation, waiting);
      } catch (error) {
        if (!(error instanceof TroupeError)) throw error;
        waiting.respond(encodeError(error));
      }
    }
  }

  onGone(activation: Activation, answer: Uint8Array): void {
    for (const { respond } of this.#take(activation)) respond(answer);
  }

  #wait(activation: Activation, waiting: Waiting): void {
    const list = this.#waiting.get(activation) ?? [];
    if (list.length >= MAX_WAITING)
      throw new BusyError(`${MAX_WAITING} queries wait for "${activation.key}" to load: try again`);
    list.push(waiting);
    this.#waiting.set(activation, list);
  }

  #take(activation: Activation): Waiting[] {
    const list = this.#waiting.get(activation) ?? [];
    this.#waiting.delete(activation);
    return list;
  }

  #answer(activation: Activation, { query, respond }: Waiting): void {
    const { clock, node, mayAnswer, provenAtMs } = this.#engine.options;
    const isRefused = () => !mayAnswer() && query.stale !== true; // may be stale: the caller asks again
    if (isRefused()) return;
    if (activation.state.revision === 0 && activation.mailbox.size === 0) {
      if (!mayAnswer()) return; // it may have been reached elsewhere
      this.#engine.drop(activation);
      respond(
        encodeError(new ActorNotFoundError(`No message ever reached "${activation.key}": send one, or check the id`)),
      );
      return;
    }
    activation.lastUsedMs = clock.monotonic();
    if (query.watch !== undefined) this.#engine.performer.watchers.add(activation, query.watch);
    const state = activation.view(node);
    const view = encodeValue(state);
    activation.whenCommitted(() => {
      if (isRefused()) return;
      if (!mayAnswer()) respond(encodeValue({ ...state, stale: true, staleSinceMs: provenAtMs() }));
      else if (query.save !== true) respond(view);
      else {
        this.#engine.saver.cover(activation).then(
          () => respond(view),
          (error: unknown) => {
            if (!(error instanceof TroupeError)) throw error;
            respond(encodeError(error));
          },
        );
      }
    });
  }
}
