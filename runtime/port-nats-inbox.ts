/**
 * The client's end of something at the server that sends until told otherwise: a consumer. Invariant: while it is open it is
 * attached, or about to be: lost connections, restarted servers and silence each lead to a fresh address and a new attach,
 * so nothing that was meant for a former one is mistaken for the present.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "nats";
import type { Clock, TimerHandle } from "./clock.ts";
import { BrokerUnavailableError } from "./errors.ts";
import { publishError } from "./mux.ts";
import { API_TIMEOUT_MS, type JetStreamApi } from "./port-nats-api.ts";
import type { StreamReads } from "./port-nats-reads.ts";

/** The server says this often that it has nothing to say, unless a reader wants otherwise, in ms. */
export const HEARTBEAT_MS = 2_000;
/** Two heartbeats missed: what sent them is gone. In heartbeats. */
const SILENCE = 2.5;
/** Tries of the first attach: one may be lost with the server that was chosen for the consumer, out of sight but not known to be gone. */
const OPEN_ATTEMPTS = 3;
/** Pause before another attach, in ms; it doubles while they fail. */
const REATTACH_MIN_MS = 50;
const REATTACH_MAX_MS = 1_000;
/** A server that starts may lose a request: then it is repeated sooner than a first one would be, in ms. */
const REATTACH_TIMEOUT_MS = 2_000;

/**
 * Runs a handler inside the client library's read loop, which a throw would end silently: a defect must end the process.
 */
export function orCrash(handle: () => void): void {
  try {
    handle();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** What readers share with the broker's connection. */
export interface Wire {
  readonly connection: NatsConnection;
  readonly api: JetStreamApi;
  readonly reads: StreamReads;
  readonly clock: Clock;
  isConnected(): boolean;
}

export interface InboxOwner {
  /** How often the server was asked to say that it has nothing to say, in ms. */
  readonly heartbeatMs: number;
  /** Makes the server send to `address`. Runs anew after each loss. */
  attach(address: string, timeoutMs: number): Promise<void>;
  receive(message: Msg): void;
  /** Whether silence means a loss just now. */
  expectsHeartbeat(): boolean;
}

export class ServerInbox {
  readonly #wire: Wire;
  readonly #owner: InboxOwner;
  #subscription: Subscription | undefined;
  /** What came before the opener had its answer. */
  #early: Msg[] | undefined = [];
  #timer: TimerHandle | undefined;
  #watch: TimerHandle | undefined;
  #heard = true;
  #pauseMs = REATTACH_MIN_MS;
  #isClosed = false;

  constructor(wire: Wire, owner: InboxOwner) {
    this.#wire = wire;
    this.#owner = owner;
  }

  /** @throws {BrokerUnavailableError} Nothing can be attached now. It is closed then. */
  async open(): Promise<void> {
    const { clock } = this.#wire;
    const attemptMs = API_TIMEOUT_MS / OPEN_ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      const askedAtMs = clock.monotonic();
      try {
        await this.#owner.attach(this.#subscribe(), attemptMs);
        break;
      } catch (error) {
        this.#subscription?.unsubscribe(); // what is attached late sends to nobody, and the server forgets it
        this.#early = [];
        const isUnanswered = error instanceof BrokerUnavailableError && clock.monotonic() - askedAtMs >= attemptMs;
        if (isUnanswered && attempt < OPEN_ATTEMPTS && !this.#isClosed) continue;
        this.close();
        throw error;
      }
    }
    if (this.#isClosed) return;
    // A listener may use the subscription that its opener has not yet got.
    clock.setTimeout(() => this.#releaseEarly(), 0);
    this.#watchOver();
  }

  /** What was attached is lost, or not to be trusted. */
  reopen(pauseMs: number = this.#pauseMs): void {
    if (this.#isClosed) return;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#wire.clock.clearTimeout(this.#timer);
    this.#timer = this.#wire.clock.setTimeout(() => void this.#reattach(), pauseMs);
  }

  /** The connection is back. */
  resume(): void {
    if (this.#watch !== undefined) this.reopen(0); // else the opener is still waiting and will be told
  }

  close(): void {
    this.#isClosed = true;
    this.#early = undefined;
    this.#subscription?.unsubscribe();
    this.#wire.clock.clearTimeout(this.#timer);
    this.#wire.clock.clearTimeout(this.#watch);
  }

  #subscribe(): string {
    const address = createInbox();
    let own: Subscription | undefined;
    const callback = (error: Error | null, message: Msg) => {
      if (own !== this.#subscription || this.#isClosed) return;
      if (error !== null) this.reopen(REATTACH_MAX_MS);
      else orCrash(() => this.#receive(message));
    };
    try {
      own = this.#wire.connection.subscribe(address, { callback });
    } catch (cause) {
      throw publishError(address, cause);
    }
    this.#subscription = own;
    return address;
  }

  #receive(message: Msg): void {
    this.#heard = true;
    if (this.#early === undefined) this.#owner.receive(message);
    else this.#early.push(message);
  }

  #releaseEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const message of early) if (!this.#isClosed) this.#owner.receive(message);
  }

  async #reattach(): Promise<void> {
    if (this.#isClosed || !this.#wire.isConnected()) return; // resume() comes
    let address: string | undefined;
    let own: Subscription | undefined;
    try {
      address = this.#subscribe();
      own = this.#subscription;
      await this.#owner.attach(address, REATTACH_TIMEOUT_MS);
      if (own === this.#subscription) this.#pauseMs = REATTACH_MIN_MS;
    } catch {
      // Whatever it was, the reader was promised to go on: it is tried until it works or is closed.
      if (own !== this.#subscription) return; // another attempt is under way
      this.#pauseMs = Math.min(2 * this.#pauseMs, REATTACH_MAX_MS);
      this.reopen();
    }
  }

  #lookForSilence(): void {
    const expects = this.#owner.expectsHeartbeat();
    const isLost = expects && !this.#heard && this.#wire.isConnected();
    this.#heard = !expects; // who begins to expect one within the next span has not missed it
    this.#watchOver();
    if (isLost) this.reopen(0);
  }

  #watchOver(): void {
    const { heartbeatMs } = this.#owner;
    this.#watch = this.#wire.clock.setTimeout(() => this.#lookForSilence(), SILENCE * heartbeatMs);
  }
}
