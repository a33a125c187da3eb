/**
 * The heart of one node incarnation: activations and their inputs, from arrival to the open round. Invariant: an input is
 * applied by exactly one engine, since only the owner of the unsealed journal can commit it.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import { Activation } from "./activation.ts";
import { newState } from "./actor-state.ts";
import { checkAddress, keyOf } from "./address.ts";
import { assertOnlyId, assertTakes } from "./admission.ts";
import { type Applied, applyInput, applyPoison, causeOf, isCurrent } from "./apply.ts";
import type { Clock } from "./clock.ts";
import { Committer } from "./committer.ts";
import { checkCommand } from "./control.ts";
import { assertDeterministic } from "./determinism.ts";
import { ACCEPTED, decodeInput, encodeError, type Input, isMessage, Tag } from "./envelope.ts";
import { BusyError, NoResponderError, PayloadError, TroupeError, UnknownKindError } from "./errors.ts";
import type { Shard } from "./families.ts";
import type { Journal } from "./journal.ts";
import { MAX_ACTIVATIONS } from "./limits.ts";
import type { Letter } from "./mailbox.ts";
import { filings, Performer } from "./performer.ts";
import type { Broker } from "./port.ts";
import { Queries } from "./queries.ts";
import { assertCovered, assertTaking } from "./refusal.ts";
import type { Round } from "./round.ts";
import type { RunnableKind } from "./runnable.ts";
import { Saver } from "./saver.ts";
import { Scheduler } from "./scheduler.ts";
import { loadState } from "./snapshots.ts";

export interface EngineOptions {
  readonly node: string;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly shardOf: (kind: string, id: string) => Shard;
  readonly log: Logger;
  readonly kinds: ReadonlyMap<string, RunnableKind>;
  readonly journal: Journal;
  readonly closed: AbortSignal;
  /** Run every transition twice and compare. For tests: it doubles the cost. */
  readonly verifyDeterminism: boolean;
  /** False once the node could not renew its lease in time: it must not act or answer. */
  readonly mayAct: () => boolean;
  /** False also while others may have taken over at a word of the server. */
  readonly mayAnswer: () => boolean;
  /** Epoch under which this incarnation owns a shard: its fencing token. 0: it does not. */
  readonly epochOf: (shard: Shard) => number;
  /** When its lease was last renewed, in ms since 1970. */
  readonly provenAtMs: () => number;
  /** Delivers to an actor of another node. */
  readonly sendRemote: (kind: string, id: string, body: Uint8Array) => Promise<Uint8Array>;
  /** The journal is sealed or broken: this incarnation is over. */
  readonly onFailed: (error: unknown) => void;
}

export class Engine {
  readonly activations = new Map<string, Activation>();
  readonly owned = new Set<Shard>();
  /** Actors of gained shards that had something to do and are not yet live: named by every checkpoint until they are. */
  readonly unwoken = new Set<string>();
  /** Actors whose stored state this code cannot read, by key: their inputs stay in the journals from `seq` on. */
  readonly parked = new Map<string, { readonly shard: Shard; readonly seq: number }>();
  readonly options: EngineOptions;
  readonly committer: Committer;
  readonly saver: Saver;
  readonly scheduler: Scheduler;
  readonly performer: Performer;
  readonly queries: Queries;
  /** Inputs whose transition threw. */
  poisons = 0;
  #mayRun = true;

  constructor(options: EngineOptions) {
    this.options = options;
    const { clock } = options;
    this.saver = new Saver({ ...options, activations: this.activations });
    this.performer = new Performer({
      ...options,
      inject: (activation, input, body) =>
        this.#take(activation, { input, body, arrivedAtMs: clock.monotonic(), respond: ignoreAnswer }),
      deliver: (kind, id, body, onAnswer) => this.#deliver(kind, id, body, onAnswer),
      onOutboxShrunk: (activation) => this.saver.onOutboxShrunk(activation),
    });
    this.committer = new Committer(options.journal, {
      onClose: (round) => this.saver.onClose(round),
      onCommitted: (round) => this.#release(round),
      onRoom: () => this.scheduler.serve(),
      onFailed: options.onFailed,
    });
    this.scheduler = new Scheduler({
      clock,
      hasRoom: () => this.committer.hasRoom,
      apply: (activation, letter) => this.#apply(activation, letter),
    });
    this.queries = new Queries(this);
  }

  /** As {@link receive}, from the lane of control: operators' commands too; a message aborts what runs. */
  control(kind: string, id: string, body: Uint8Array, respond: (answer: Uint8Array) => void): void {
    this.abort(kind, id, body);
    this.receive(kind, id, body, respond, true);
  }

  /** Takes a message from the network or from another actor. `body` must stay valid: copy what a connection lent. */
  receive(kind: string, id: string, body: Uint8Array, respond: (answer: Uint8Array) => void, isControl = false): void {
    try {
      const input = decodeInput(body);
      if (isControl && input.tag === Tag.Control) checkCommand(input.event);
      else if (input.tag > Tag.Ask)
        throw new PayloadError("Only tell and ask may be sent: timers, results and control are the runtime's own");
      assertTaking(this);
      const activation = this.activate(kind, id);
      activation.lastUsedMs = this.options.clock.monotonic();
      this.#take(activation, { input, body, arrivedAtMs: activation.lastUsedMs, respond });
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      respond(encodeError(error));
    }
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
    assertOnlyId(runnable, id);
    const shard = this.options.shardOf(kind, id);
    if (!this.owned.has(shard)) throw new NoResponderError(this.options.names.act(shard, kind, id));
    if (this.activations.size >= MAX_ACTIVATIONS && !this.saver.evictOne((a) => this.drop(a))) {
      throw new BusyError(`The node holds ${MAX_ACTIVATIONS} actors, none idle: add nodes, or try again later`);
    }
    const activation = new Activation({ kind, id }, shard, runnable);
    this.activations.set(activation.key, activation);
    void this.#load(activation);
    return activation;
  }

  /** Adds an activation that recovery has rebuilt; it goes live with its shard. */
  adopt(activation: Activation): void {
    this.activations.set(activation.key, activation);
  }

  /** Goes live: letters are served, timers armed, invocations restarted, unacknowledged messages sent again. */
  enliven(activation: Activation): void {
    activation.phase = "live";
    this.unwoken.delete(activation.key);
    activation.lastUsedMs = this.options.clock.monotonic();
    activation.aheadMs = Math.max(0, activation.state.timeMs - this.options.clock.now());
    this.performer.resume(activation);
    this.scheduler.markRunnable(activation);
    this.scheduler.serve();
  }

  /** Leaves memory: by passivation, or because the shard is lost. Waiting letters are answered "busy". */
  drop(activation: Activation): void {
    this.#refuseAll(activation, new BusyError(`Actor "${activation.key}" is moving: try again`));
    this.performer.release(activation);
  }

  /** Fires the signals of the actor's running invocations at once, if the message that records it can be taken and is new. */
  abort(kind: string, id: string, body: Uint8Array): void {
    const activation = this.activations.get(keyOf(kind, id));
    if (activation?.phase !== "live") return;
    try {
      const input = decodeInput(body);
      if (input.tag > Tag.Ask || activation.state.senders.seen(input.sender, input.seq) !== undefined) return;
      assertTakes(activation.kind, activation.address, activation.state, input);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      return; // `receive` refuses it for the same reason
    }
    this.performer.invocations.abort(activation, `Aborted by control: see the message in "${activation.key}"`);
  }

  /**
   * While the lease is not good no invocation may run. Their results are not failures: they are started again, under the
   * same ids, by this node once its lease is good, or by the next owner.
   */
  fence(mayAct: boolean): void {
    const { invocations } = this.performer;
    if (mayAct === this.#mayRun && !(mayAct && invocations.isBehind)) return;
    this.#mayRun = mayAct;
    invocations.isBehind = false;
    for (const activation of this.activations.values()) {
      if (!mayAct) invocations.stopAll(activation);
      else if (activation.phase === "live") invocations.resume(activation);
    }
  }

  async #load(activation: Activation): Promise<void> {
    try {
      const stored = await loadState(this.options, activation.kind, activation.shard, activation.address.id);
      if (activation.phase !== "loading") return;
      activation.begin(stored?.state ?? newState(), stored);
      this.enliven(activation);
      this.queries.onLive(activation);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      this.options.log.error(
        { err: error, actor: activation.key },
        "Actor cannot be activated: its messages are refused until it can",
      );
      this.#refuseAll(activation, error);
    }
  }

  #refuseAll(activation: Activation, error: TroupeError): void {
    activation.phase = "gone";
    this.activations.delete(activation.key);
    const answer = encodeError(error);
    for (const letter of this.scheduler.drain(activation)) letter.respond(answer);
    this.queries.onGone(activation, answer);
  }

  #take(activation: Activation, letter: Letter): void {
    if (activation.isFrozen || activation.phase === "gone")
      letter.respond(encodeError(new BusyError(`Actor "${activation.key}" is moving: try again`)));
    else this.scheduler.offer(activation, letter);
  }

  #apply(activation: Activation, letter: Letter): void {
    const { state, kind, address } = activation;
    const { input } = letter;
    const timeMs = activation.timeAt(this.options.clock.now());
    if (isMessage(input.tag)) {
      const refusal = this.#refusal(activation, input, timeMs);
      if (refusal !== undefined) {
        activation.whenCommitted(() => letter.respond(refusal));
        return;
      }
    } else if (!isCurrent(state, input)) return;

    let applied: Applied;
    let poison: string | null = null;
    try {
      if (this.options.verifyDeterminism) assertDeterministic(kind, address, state, input, timeMs);
      applied = applyInput(kind, address, state, input, timeMs);
    } catch (error) {
      poison = causeOf(error);
      applied = applyPoison(kind, address, state, input, timeMs, poison);
      this.poisons++;
    }
    activation.unfiled += filings(input, poison);
    const round = this.committer.add([timeMs, activation.key, letter.body, poison], {
      activation,
      applied,
      letter,
      poison,
      revision: state.revision,
      outSeq: state.outSeq,
    });
    activation.lastRound = round;
    this.saver.onInput(activation, activation.uncovered.push(round, timeMs, letter.body, poison));
  }

  /** The answer to a message that changes nothing: a repetition, or one that cannot be taken. */
  #refusal(activation: Activation, input: Input, timeMs: number): Uint8Array | undefined {
    const seen = activation.state.senders.seen(input.sender, input.seq);
    if (seen !== undefined) return seen ?? activation.state.senders.repeated(input.sender, input.seq);
    try {
      assertTakes(activation.kind, activation.address, activation.state, input);
      activation.state.senders.admit(input.sender, input.seq, input.low, timeMs);
      assertCovered(activation);
      return undefined;
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      return encodeError(error);
    }
  }

  #release(round: Round): void {
    for (const { letter, applied } of round.releases) letter.respond(applied.answer ?? ACCEPTED);
    this.performer.perform(round);
    this.saver.onCommitted(round);
  }

  /** To an actor on the same node a message is a function call into the next round. */
  #deliver(kind: string, id: string, body: Uint8Array, onAnswer: (answer: Uint8Array | TroupeError) => void): void {
    if (this.owned.has(this.options.shardOf(kind, id))) {
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
