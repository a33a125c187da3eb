/**
 * The heart of one node incarnation: activations, their inputs, and the way out after the commit. Invariant: an input is
 * applied by exactly one engine, since only the owner of the unsealed journal can commit it.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { Activation } from "./activation.ts";
import { addressOf, checkAddress, keyOf, shardOf } from "./address.ts";
import { applyInput, applyPoison, type Applied, assertTakes, causeOf, isCurrent } from "./apply.ts";
import type { Clock } from "./clock.ts";
import { Committer } from "./committer.ts";
import { DeadLetters } from "./dead-letters.ts";
import { assertDeterministic } from "./determinism.ts";
import { ACCEPTED, decodeInput, encodeError, encodeValue, type Input, Tag } from "./envelope.ts";
import { ActorNotFoundError, BusyError, NoResponderError, TroupeError, UnknownKindError } from "./errors.ts";
import { Invocations } from "./invocations.ts";
import type { Journal } from "./journal.ts";
import { HISTORY_CHUNK_BYTES, MAX_ACTIVATIONS, NODE_QUEUE_BYTES } from "./limits.ts";
import type { Letter } from "./mailbox.ts";
import { Outbox } from "./outbox.ts";
import { poolMessage } from "./pool-message.ts";
import type { Broker } from "./port.ts";
import type { Release, Round } from "./round.ts";
import type { RunnableKind } from "./runnable.ts";
import { Saver } from "./saver.ts";
import { loadState } from "./snapshots.ts";
import { newState } from "./actor-state.ts";
import { armTimers, disarmTimers } from "./timers.ts";
import { Watchers } from "./watchers.ts";

export interface EngineOptions {
  readonly node: string;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly shards: number;
  readonly log: Logger;
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly journal: Journal;
  readonly closed: AbortSignal;
  /** Run every transition twice and compare. For tests: it doubles the cost. */
  readonly verifyDeterminism: boolean;
  /** False once the node could not renew its lease in time: it must not act or answer. */
  readonly mayAct: () => boolean;
  /** Delivers to an actor of another node. */
  readonly sendRemote: (kind: string, id: string, body: Uint8Array) => Promise<Uint8Array>;
  /** The journal is sealed or broken: this incarnation is over. */
  readonly onFailed: (error: unknown) => void;
}

/** A question to an actor: its state, and on the way perhaps to watch it, or to write its history down first. */
export interface Query {
  readonly watch?: string;
  readonly save?: boolean;
}

export class Engine {
  readonly activations = new Map<string, Activation>();
  readonly owned = new Set<number>();
  readonly committer: Committer;
  readonly saver: Saver;
  readonly options: EngineOptions;
  readonly #invocations: Invocations;
  readonly #outbox: Outbox;
  readonly #watchers: Watchers;
  readonly #deadLetters: DeadLetters;
  #runnable: Activation[] = [];
  #queuedBytes = 0;
  queued = 0;

  constructor(options: EngineOptions) {
    this.options = options;
    const { clock, broker, names, log, closed } = options;
    this.saver = new Saver({ broker, names, clock, log, activations: this.activations, onFailed: options.onFailed });
    this.committer = new Committer(options.journal, {
      onClose: (round) => this.saver.onClose(round),
      onCommitted: (round) => this.#release(round),
      onRoom: () => this.#serve(),
      onFailed: options.onFailed,
    });
    this.#invocations = new Invocations(clock, (activation, input, body) => this.inject(activation, input, body));
    this.#watchers = new Watchers({ broker, clock, names, node: options.node });
    this.#deadLetters = new DeadLetters({ broker, names, clock, log, closed });
    this.#outbox = new Outbox({
      clock,
      log,
      deliver: (kind, id, body, onAnswer) => this.#deliver(kind, id, body, onAnswer),
      publish: async (pool, sender, message) => {
        const { subject, data, messageId } = poolMessage(names, pool, sender.key, message);
        await broker.append(subject, data, { messageId });
      },
      onSettled: (activation) => this.saver.onOutboxShrunk(activation),
      onRefused: (activation, message, error) => this.#refused(activation, message, error),
    });
  }

  /** Takes a message from the network or from another actor. `body` must stay valid: copy what a connection lent. */
  receive(kind: string, id: string, body: Uint8Array, respond: (answer: Uint8Array) => void): void {
    try {
      const input = decodeInput(body);
      if (input.tag > Tag.Ask) throw new UnknownKindError(kind, []); // forged: completions and timers never cross the wire
      if (this.#queuedBytes > NODE_QUEUE_BYTES || this.#deadLetters.isFull) throw new BusyError(`The node's queues are full: try again later`);
      const activation = this.activate(kind, id);
      activation.lastUsedMs = this.options.clock.monotonic();
      this.#take(activation, { input, body, arrivedAtMs: activation.lastUsedMs, respond });
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
  }

  /** An input of the actor's own: a timer that fired, an invocation that settled. */
  inject(activation: Activation, input: Input, body: Uint8Array): void {
    this.#take(activation, { input, body, arrivedAtMs: this.options.clock.monotonic(), respond: ignoreAnswer });
  }

  /**
   * The activation of an actor of an owned shard; starts loading it when it is not in memory.
   * @throws {UnknownKindError} @throws {AddressError} @throws {BusyError} @throws {NoResponderError} Not owned.
   */
  activate(kind: string, id: string): Activation {
    const known = this.activations.get(keyOf(kind, id));
    if (known !== undefined) return known;
    checkAddress(kind, id);
    const runnable = this.options.kinds.get(kind);
    if (runnable === undefined) throw new UnknownKindError(kind, [...this.options.kinds.keys()]);
    const shard = shardOf(kind, id, this.options.shards);
    if (!this.owned.has(shard)) throw new NoResponderError(this.options.names.act(shard, kind, id));
    if (this.activations.size >= MAX_ACTIVATIONS && !this.saver.evictOne((a) => this.drop(a))) {
      throw new BusyError(`The node holds ${MAX_ACTIVATIONS} actors, none idle: add nodes, or try again later`);
    }
    const activation = new Activation({ kind, id }, shard, runnable);
    this.activations.set(activation.key, activation);
    void this.#load(activation);
    return activation;
  }

  /** Serves what waits for the picked actors until all of it is committed, then freezes them: their shard is leaving. */
  async settle(picks: (activation: Activation) => boolean): Promise<void> {
    const isOpen = (a: Activation) => picks(a) && (a.phase === "loading" || a.mailbox.size > 0 || !a.isCommitted);
    while ([...this.activations.values()].some(isOpen)) {
      this.#serve();
      await this.committer.drain();
      if ([...this.activations.values()].some(isOpen)) await new Promise<void>((resolve) => this.options.clock.setTimeout(resolve, 1));
    }
    // Timers and results of their own may still come: dropped here, they recur at the next owner.
    for (const activation of this.activations.values()) if (picks(activation)) activation.isFrozen = true;
  }

  /** Adds an activation that recovery has rebuilt; it goes live with its shard. */
  adopt(activation: Activation): void {
    this.activations.set(activation.key, activation);
  }

  /** Actors of gained shards that had something to do and are not yet live: named by every checkpoint until they are. */
  readonly unwoken = new Set<string>();

  /** Goes live: letters are served, timers armed, invocations restarted, unacknowledged messages sent again. */
  enliven(activation: Activation): void {
    activation.phase = "live";
    this.unwoken.delete(activation.key);
    activation.lastUsedMs = this.options.clock.monotonic();
    activation.releasableSeq = activation.state.outSeq;
    this.#invocations.resume(activation);
    this.#rearm(activation);
    this.#outbox.pump(activation);
    this.#markRunnable(activation);
    this.#serve();
  }

  /** Leaves memory: by passivation, or because the shard is lost. Waiting letters are answered "busy". */
  drop(activation: Activation): void {
    activation.phase = "gone";
    this.activations.delete(activation.key);
    disarmTimers(this.options.clock, activation);
    this.#invocations.stopAll(activation);
    const waiting = activation.mailbox.drain(0);
    this.#forgetQueued(waiting);
    for (const letter of waiting) letter.respond(encodeError(new BusyError(`Actor "${activation.key}" is moving: try again`)));
  }

  /** Answers a query from memory, after the round that it saw is committed. */
  query(kind: string, id: string, { watch, save }: Query, respond: (answer: Uint8Array) => void): void {
    const answer = (activation: Activation) => {
      activation.lastUsedMs = this.options.clock.monotonic();
      if (activation.state.revision === 0) {
        this.drop(activation); // a question alone creates nothing
        respond(encodeError(new ActorNotFoundError(`No message ever reached "${activation.key}": send one, or check the id`)));
        return;
      }
      if (watch !== undefined) this.#watchers.add(activation, watch);
      const view = encodeValue(activation.view(this.options.node));
      activation.whenCommitted(() => {
        if (!this.options.mayAct()) return; // may be stale: the caller asks again
        if (save !== true) respond(view);
        else void this.saver.cover(activation).then(() => respond(view));
      });
    };
    try {
      const activation = this.activate(kind, id);
      if (activation.phase === "live") answer(activation);
      else this.#whenLive.set(activation, [...(this.#whenLive.get(activation) ?? []), { answer: () => answer(activation), respond }]);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
  }

  readonly #whenLive = new Map<Activation, { answer: () => void; respond: (answer: Uint8Array) => void }[]>();

  /** Fires the signals of the actor's running invocations at once; the message that records it follows by itself. */
  abort(kind: string, id: string): void {
    const activation = this.activations.get(keyOf(kind, id));
    if (activation?.phase === "live") this.#invocations.abort(activation, `Aborted by control: see the message in "${activation.key}"`);
  }

  /** The lease is not good: no effect may run until it is, or the node is sealed. */
  fence(): void {
    for (const activation of this.activations.values()) if (activation.running.size > 0) this.#invocations.abort(activation, "The node lost its lease");
  }

  async #load(activation: Activation): Promise<void> {
    try {
      const stored = await loadState(this.options, activation.kind, activation.shard, activation.address.id);
      if (activation.phase !== "loading") return;
      activation.state = stored?.state ?? newState();
      activation.snapshotSeq = stored?.seq ?? 0;
      activation.coveredSeq = stored?.covers ?? 0;
      activation.savedOutbox = activation.state.outbox.size;
      this.enliven(activation);
      for (const query of this.#takeQueries(activation)) query.answer();
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      this.options.log.error({ err: error, actor: activation.key }, "Actor cannot be activated: its messages are refused until it can");
      activation.phase = "gone";
      this.activations.delete(activation.key);
      const waiting = activation.mailbox.drain(0);
      this.#forgetQueued(waiting);
      for (const { respond } of [...waiting, ...this.#takeQueries(activation)]) respond(encodeError(error));
    }
  }

  #takeQueries(activation: Activation) {
    const waiting = this.#whenLive.get(activation) ?? [];
    this.#whenLive.delete(activation);
    return waiting;
  }

  #take(activation: Activation, letter: Letter): void {
    if (activation.isFrozen || activation.phase === "gone") {
      letter.respond(encodeError(new BusyError(`Actor "${activation.key}" is moving: try again`)));
      return;
    }
    if (activation.phase === "live" && activation.mailbox.size === 0 && this.committer.hasRoom) {
      this.#apply(activation, letter);
      return;
    }
    activation.mailbox.push(letter);
    this.queued++;
    this.#queuedBytes += letter.body.length;
    if (activation.phase === "live") this.#markRunnable(activation);
  }

  #markRunnable(activation: Activation): void {
    if (activation.queued || activation.mailbox.size === 0) return;
    activation.queued = true;
    this.#runnable.push(activation);
  }

  /** Round-robin over the activations that wait, one letter each, while the open round has room. */
  #serve(): void {
    const now = this.options.clock.monotonic();
    while (this.#runnable.length > 0 && this.committer.hasRoom) {
      const turn = this.#runnable;
      this.#runnable = [];
      for (const [index, activation] of turn.entries()) {
        if (!this.committer.hasRoom) {
          this.#runnable.push(...turn.slice(index));
          break;
        }
        activation.queued = false;
        const letter = activation.phase === "live" ? activation.mailbox.shift(now) : undefined;
        if (letter === undefined) continue;
        this.#forgetQueued([letter]);
        const { ttlMs } = letter.input;
        if (ttlMs === 0 || now - letter.arrivedAtMs < ttlMs) this.#apply(activation, letter); // past it the sender has given up
        this.#markRunnable(activation);
      }
    }
  }

  #forgetQueued(letters: readonly Letter[]): void {
    for (const letter of letters) this.#queuedBytes -= letter.body.length;
    this.queued -= letters.length;
  }

  #apply(activation: Activation, letter: Letter): void {
    const { state, kind, address } = activation;
    const { input } = letter;
    if (input.tag <= Tag.Ask) {
      const refusal = this.#refusal(activation, input);
      if (refusal !== undefined) {
        activation.whenCommitted(() => letter.respond(refusal));
        return;
      }
    } else if (!isCurrent(state, input)) return;

    const timeMs = Math.max(state.timeMs, this.options.clock.now());
    let applied: Applied;
    let poison: string | null = null;
    try {
      if (this.options.verifyDeterminism) assertDeterministic(kind, address, state, input, timeMs);
      applied = applyInput(kind, address, state, input, timeMs);
    } catch (error) {
      poison = causeOf(error);
      applied = applyPoison(kind, address, state, input, timeMs, poison);
    }
    const round = this.committer.add([timeMs, activation.key, letter.body, poison], { activation, applied, letter, poison, outSeq: state.outSeq });
    activation.lastRound = round;
    activation.uncovered.push({ round, timeMs, body: letter.body, poison });
    activation.uncoveredBytes += letter.body.length;
    this.saver.onInput(activation, activation.uncovered.length >= kind.snapshotEvery || activation.uncoveredBytes >= HISTORY_CHUNK_BYTES);
  }

  /** The answer to a message that changes nothing: a repetition, or one that cannot be taken. */
  #refusal(activation: Activation, input: Input): Uint8Array | undefined {
    const seen = activation.state.senders.seen(input.sender, input.seq);
    if (seen !== undefined) return seen ?? ACCEPTED;
    try {
      assertTakes(activation.kind, activation.address, activation.state, input);
      activation.state.senders.admit(input.sender, input.low, this.options.clock.now());
      return undefined;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      return encodeError(error);
    }
  }

  #release(round: Round): void {
    for (const release of round.releases) {
      release.letter.respond(release.applied.answer ?? ACCEPTED);
      this.#perform(release, round);
    }
    this.#watchers.flush();
    this.saver.onCommitted(round);
  }

  #perform(release: Release, round: Round): void {
    const { activation, applied, poison, letter, outSeq } = release;
    const { effects } = applied;
    if (poison !== null) this.poisoned(activation, letter.input, poison, round.seq);
    if (activation.phase !== "live") return;
    for (const child of effects.stop) this.#invocations.stop(activation, child);
    for (const [child, invocation] of effects.start) {
      if (activation.state.invocations.get(child)?.startedBy === invocation.startedBy) this.#invocations.start(activation, child, invocation);
    }
    if (effects.setTimers.length > 0 || effects.cancelTimers.length > 0 || effects.firedTimer !== undefined) this.#rearm(activation);
    if (outSeq > activation.releasableSeq) {
      activation.releasableSeq = outSeq;
      this.#outbox.pump(activation);
    }
    this.#watchers.changed(activation, effects.emitted);
    for (const action of effects.custom) runCustom(action, activation.key, this.options.log);
  }

  #rearm(activation: Activation): void {
    armTimers(this.options.clock, activation, (target, input, body) => this.inject(target, input, body));
  }

  /** Files a poison message under an id that recovery finds again. */
  poisoned(activation: Activation, input: Input, cause: string, seq: number): void {
    const messageId = `${activation.key}:${seq}:${input.sender}:${input.seq}`;
    this.#deadLetters.add({ reason: "poison", ...activation.address, cause, timeMs: activation.state.timeMs, sender: input.sender, event: input.event, messageId });
  }

  #refused(activation: Activation, message: { readonly to: string; readonly seq: number; readonly event: unknown; readonly timeMs: number }, error: TroupeError): void {
    const { kind, id } = message.to.startsWith("pool:") ? { kind: "pool", id: message.to.slice(5).replaceAll(".", ":") } : addressOf(message.to);
    const messageId = `${activation.key}:${message.seq}`;
    this.#deadLetters.add({ reason: "refused", kind, id, cause: causeOf(error), timeMs: message.timeMs, sender: activation.key, event: message.event, messageId });
  }

  /** To an actor on the same node a message is a function call into the next round. */
  #deliver(kind: string, id: string, body: Uint8Array, onAnswer: (answer: Uint8Array | TroupeError) => void): void {
    if (this.owned.has(shardOf(kind, id, this.options.shards))) {
      this.receive(kind, id, body, onAnswer);
      return;
    }
    this.options.sendRemote(kind, id, body).then(onAnswer, (error: unknown) => {
      if (!(error instanceof TroupeError)) throw error;
      onAnswer(error);
    });
  }
}

function ignoreAnswer(): void {
  // Nobody waits for the answer to an actor's own timer or result.
}

/** A named custom action: at most once, after the commit. Its failure is the author's to see, not the actor's. */
function runCustom(action: Release["applied"]["effects"]["custom"][number], key: string, log: Logger): void {
  if (action.type === "xstate.log") {
    const { label, value } = action.params as { label?: string; value: unknown };
    log.info({ actor: key, label, value }, "Logged by machine");
    return;
  }
  try {
    (action.exec as ((info: unknown, params: unknown) => void) | undefined)?.(action.info, action.params);
  } catch (error) {
    log.error({ err: error, actor: key, action: action.type }, "Custom action threw");
  }
}
