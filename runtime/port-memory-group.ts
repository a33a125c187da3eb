/**
 * A durable consumer of an in-memory stream, shared by its members. Invariant: a message is with one member at a time and
 * comes again until it is acknowledged; a member never holds more than it asked for.
 */
import type { Clock, TimerHandle } from "./clock.ts";
import type { ConsumeOptions, Delivery } from "./port.ts";
import type { MemoryLink } from "./port-memory-link.ts";
import type { MemoryStream } from "./port-memory-stream.ts";
import { type Matcher, matcherOfAny } from "./port-memory-subject.ts";

/** One process's share of a group. */
export class Member {
  readonly link: MemoryLink;
  readonly maxInFlight: number;
  readonly onMessage: (delivery: Delivery) => void;
  /** Its wire stands: it asks for messages, and what it says is heard. */
  online = true;
  stopped = false;

  constructor(link: MemoryLink, maxInFlight: number, onMessage: (delivery: Delivery) => void) {
    this.link = link;
    this.maxInFlight = maxInFlight;
    this.onMessage = onMessage;
  }

  goOffline(): void {
    this.online = false;
  }
}

/** A message that was delivered and is not settled. `holder` is undefined while it waits for its next attempt. */
interface Pending {
  readonly seq: number;
  attempt: number;
  holder: Member | undefined;
  timer: TimerHandle | undefined;
}

export class MemoryGroup {
  readonly #clock: Clock;
  readonly #stream: MemoryStream;
  readonly #members: Member[] = [];
  readonly #pending = new Map<number, Pending>();
  readonly #again: Pending[] = [];
  #options: ConsumeOptions;
  #matches: Matcher;
  #cursor = 1;
  #turn = 0;

  constructor(clock: Clock, stream: MemoryStream, options: ConsumeOptions) {
    this.#clock = clock;
    this.#stream = stream;
    this.#options = options;
    this.#matches = matcherOfAny(options.subjects);
    stream.watch(() => this.pump());
  }

  join(member: Member, options: ConsumeOptions): void {
    if (member.stopped) return;
    this.#options = options;
    this.#matches = matcherOfAny(options.subjects);
    this.#members.push(member);
    this.pump();
  }

  leave(member: Member): void {
    member.stopped = true;
    const at = this.#members.indexOf(member);
    if (at >= 0) this.#members.splice(at, 1);
  }

  /** The member's wire is back. What it held stays with it until the wait for its acknowledgement ends. */
  rejoin(member: Member): void {
    member.online = true;
    this.pump();
  }

  /** Hands out what waits to whoever has room, in turn. */
  pump(): void {
    for (;;) {
      const member = this.#nextMember();
      const pending = member === undefined ? undefined : this.#nextMessage();
      if (member === undefined || pending === undefined) return;
      this.#deliver(member, pending);
    }
  }

  #nextMember(): Member | undefined {
    for (let i = 0; i < this.#members.length; i += 1) {
      const at = (this.#turn + i) % this.#members.length;
      const member = this.#members[at];
      if (member === undefined || !member.online || this.#heldBy(member) >= member.maxInFlight) continue;
      this.#turn = at + 1;
      return member;
    }
    return undefined;
  }

  #heldBy(member: Member): number {
    let held = 0;
    for (const pending of this.#pending.values()) if (pending.holder === member) held += 1;
    return held;
  }

  #nextMessage(): Pending | undefined {
    for (let again = this.#again.shift(); again !== undefined; again = this.#again.shift()) {
      if (this.#pending.get(again.seq) !== again) continue; // settled late
      if (this.#stream.at(again.seq) !== undefined) return again;
      this.#pending.delete(again.seq);
    }
    const message = this.#stream.next(this.#matches, this.#cursor);
    this.#cursor = message === undefined ? this.#stream.lastSeq + 1 : message.seq + 1;
    if (message === undefined) return undefined;
    const pending: Pending = { seq: message.seq, attempt: 0, holder: undefined, timer: undefined };
    this.#pending.set(pending.seq, pending);
    return pending;
  }

  #deliver(member: Member, pending: Pending): void {
    const message = this.#stream.at(pending.seq);
    if (message === undefined) return;
    pending.attempt += 1;
    pending.holder = member;
    pending.timer = this.#clock.setTimeout(() => this.#requeue(pending), this.#options.ackWaitMs);
    const { attempt } = pending;
    let settled = false;
    const tell = (verdict: () => void) => {
      if (settled || !member.online) return; // said into a cut wire: lost
      settled = true;
      member.link.toServer(verdict);
    };
    const delivery: Delivery = {
      ...message,
      attempt,
      ack: () => tell(() => this.#settle(pending)),
      nak: (delayMs) => tell(() => this.#delay(pending, attempt, delayMs)),
    };
    member.link.toClient(() => {
      if (!member.stopped) member.onMessage(delivery);
    });
  }

  #settle(pending: Pending): void {
    if (this.#pending.get(pending.seq) !== pending) return;
    this.#clock.clearTimeout(pending.timer);
    this.#pending.delete(pending.seq);
    if (this.#stream.spec.retention === "workqueue") this.#stream.remove(pending.seq);
    this.pump();
  }

  #delay(pending: Pending, attempt: number, delayMs: number): void {
    if (this.#pending.get(pending.seq) !== pending || pending.attempt !== attempt || pending.holder === undefined)
      return;
    this.#clock.clearTimeout(pending.timer);
    pending.holder = undefined;
    if (delayMs <= 0) {
      this.#requeue(pending);
      return;
    }
    pending.timer = this.#clock.setTimeout(() => this.#requeue(pending), delayMs);
    this.pump();
  }

  #requeue(pending: Pending): void {
    pending.holder = undefined;
    pending.timer = undefined;
    this.#again.push(pending);
    this.pump();
  }
}
