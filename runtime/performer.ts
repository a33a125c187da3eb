/**
 * What leaves an actor after the commit: invocations, timers, messages, views, dead letters. Invariant: nothing here is called
 * for an input whose round is not committed.
 */
import type { Logger } from "pino";
import type { Names } from "../nats-config/subjects.ts";
import type { Activation } from "./activation.ts";
import type { Outgoing } from "./actor-state.ts";
import { addressOf, MAX_ID_LENGTH } from "./address.ts";
import { causeOf, machineEvent } from "./apply.ts";
import type { Clock } from "./clock.ts";
import { commandOf } from "./control.ts";
import { DeadLetters } from "./dead-letters.ts";
import { type Effects, POOL_PREFIX } from "./effects.ts";
import type { Input } from "./envelope.ts";
import type { TroupeError } from "./errors.ts";
import type { Shard } from "./families.ts";
import { Invocations } from "./invocations.ts";
import type { MachineAction } from "./machine.ts";
import { Outbox, type OutboxDeps } from "./outbox.ts";
import { poolMessage } from "./pool-message.ts";
import type { Broker } from "./port.ts";
import type { Release, Round } from "./round.ts";
import { armTimers, disarmTimers, type Inject } from "./timers.ts";
import { Watchers } from "./watchers.ts";

export interface PerformerOptions {
  readonly node: string;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly names: Names;
  readonly log: Logger;
  readonly closed: AbortSignal;
  readonly mayAct: () => boolean;
  readonly epochOf: (shard: Shard) => number;
  readonly inject: Inject;
  readonly deliver: OutboxDeps["deliver"];
  readonly onOutboxShrunk: (activation: Activation) => void;
}

/** An input of which something may have to be filed. */
export interface Filing {
  readonly activation: Activation;
  readonly input: Input;
  readonly poison: string | null;
  /** Its place in the journal, and its number in the actor's life. */
  readonly seq: number;
  readonly revision: number;
  readonly retired: Effects["retired"];
}

/** How many filings an input makes: none of them may be covered by a snapshot before it is stored. */
export function filings(input: Input, poison: string | null): number {
  const command = commandOf(input);
  const isOfLetter = command?.type === "control.retry" || command?.type === "control.skip";
  return (poison === null ? 0 : 1) + (isOfLetter ? 1 : 0);
}

export class Performer {
  readonly watchers: Watchers;
  readonly invocations: Invocations;
  readonly deadLetters: DeadLetters;
  readonly #outbox: Outbox;
  readonly #o: PerformerOptions;

  constructor(options: PerformerOptions) {
    this.#o = options;
    const { broker, names, clock, inject, mayAct, deliver, onOutboxShrunk } = options;
    this.watchers = new Watchers(options);
    this.invocations = new Invocations(clock, inject, mayAct, options.epochOf);
    this.deadLetters = new DeadLetters(options);
    this.#outbox = new Outbox({
      clock,
      mayAct,
      deliver,
      publish: async (pool, sender, message) => {
        const { subject, data, messageId } = poolMessage(names, pool, sender.key, message);
        await broker.append(subject, data, { messageId });
      },
      onSettled: onOutboxShrunk,
      onRefused: (activation, message, error) => this.#refused(activation, message, error),
    });
  }

  /** All of a committed round, in the order of its inputs. */
  perform(round: Round): void {
    for (const release of round.releases) this.#perform(release, round.seq);
    this.watchers.flush();
  }

  /** An activation goes live: what its state shows unfinished is taken up again. */
  resume(activation: Activation): void {
    activation.committedRevision = activation.state.revision;
    activation.releasableSeq = activation.state.outSeq;
    this.invocations.resume(activation);
    this.#rearm(activation);
    this.#outbox.pump(activation);
  }

  /** An activation leaves memory. */
  release(activation: Activation): void {
    disarmTimers(this.#o.clock, activation);
    this.invocations.stopAll(activation);
  }

  /** Files what people must see of an input, counted in `unfiled` as it was applied, under ids that recovery finds again. */
  file({ activation, input, poison, seq, revision, retired }: Filing): void {
    const { timeMs } = activation.state;
    const command = commandOf(input);
    if (poison !== null) {
      const letter = this.deadLetters.add({
        reason: "poison",
        ...activation.address,
        cause: poison,
        timeMs,
        sender: command?.type === "control.retry" ? command.sender : input.sender,
        event: machineEvent(input) ?? input.event,
        revision,
        ...(retired !== undefined && { state: retired }),
        messageId: `${activation.key}:${seq}:${input.sender}:${input.seq}`,
      });
      this.#await(activation, letter);
    }
    if (command?.type === "control.retry" || command?.type === "control.skip") {
      const { type, by, why, letter } = command;
      const isRetry = type === "control.retry";
      const mark = this.deadLetters.mark(letter, {
        verb: isRetry ? "retried" : "skipped",
        by,
        why,
        timeMs,
        isEdited: isRetry && command.isEdited,
        outcome: poison !== null ? "poison" : isRetry ? "applied" : "dropped",
      });
      this.#await(activation, mark);
    }
  }

  #perform({ activation, applied, poison, letter, revision, outSeq }: Release, seq: number): void {
    const { effects } = applied;
    if (filings(letter.input, poison) > 0)
      this.file({ activation, input: letter.input, poison, seq, revision, retired: effects.retired });
    if (activation.phase !== "live") return;
    activation.committedRevision = revision;
    for (const child of effects.stop) this.invocations.stop(activation, child);
    for (const [child, invocation] of effects.start) {
      // A later input of the same round may have left the state again.
      if (activation.state.invocations.get(child)?.startedBy === invocation.startedBy)
        this.invocations.start(activation, child, invocation);
    }
    if (effects.resumed) {
      this.invocations.resume(activation);
      this.#rearm(activation);
    } else if (effects.setTimers.length > 0 || effects.cancelTimers.length > 0 || effects.firedTimer !== undefined)
      this.#rearm(activation);
    if (outSeq > activation.releasableSeq) {
      activation.releasableSeq = outSeq;
      this.#outbox.pump(activation);
    }
    this.watchers.changed(activation, effects.emitted);
    for (const action of effects.custom) this.#runCustom(action, activation.key);
  }

  #rearm(activation: Activation): void {
    armTimers(this.#o.clock, activation, this.#o.inject);
  }

  #await(activation: Activation, stored: Promise<boolean>): void {
    void stored.then((isDone) => {
      if (isDone) activation.unfiled--;
    });
  }

  #refused(activation: Activation, message: Outgoing, error: TroupeError): void {
    const isPool = message.to.startsWith(POOL_PREFIX);
    const { kind, id } = isPool
      ? { kind: "pool", id: poolToken(message.to.slice(POOL_PREFIX.length)) }
      : addressOf(message.to);
    const messageId = `${activation.key}:${message.seq}`;
    activation.unfiled++;
    const letter = this.deadLetters.add({
      reason: "refused",
      kind,
      id,
      cause: causeOf(error),
      timeMs: message.timeMs,
      sender: activation.key,
      event: message.event,
      messageId,
    });
    this.#await(activation, letter);
  }

  /** A named custom action: at most once, after the commit and under a lease. Its failure is the author's to see, not the actor's. */
  #runCustom(action: MachineAction, key: string): void {
    const { log, mayAct } = this.#o;
    if (!mayAct()) {
      log.warn({ actor: key, action: action.type }, "Custom action left out: the node's lease is not renewed");
      return;
    }
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
}

/** A pool's name as one subject token: what refused the message may be that it is none. */
const poolToken = (pool: string): string =>
  pool
    .replaceAll(".", ":")
    .replace(/[^\w:-]/g, "_")
    .slice(0, MAX_ID_LENGTH) || "_";
