/**
 * A lock, the entry that shows its lease, and the door that reads it, beside the reference. Invariant: after each step the lock
 * and the reference agree, and at the door no more than one token is good.
 */
import { expect } from "vitest";
import { decodeLease, encodeLease, judgeToken, type Lease, leaseOf } from "../../actors/lease.ts";
import type { ResourceMessage } from "../../actors/messages/resource.ts";
import type { LockChanged } from "../../actors/messages/wait-graph.ts";
import type { LockFact } from "../../actors/resource-grants.ts";
import { decide } from "../../actors/resource-rules.ts";
import { resourceActor } from "../../actors/resource.ts";
import { dueAtMs, newLock, type ResourceContext, stateOf } from "../../actors/resource-state.ts";
import { ReferenceLock } from "./lock-model.ts";
import { DrivenActor, START_MS } from "./machine.ts";

export type Plant = "none" | "door takes any token" | "grant before revoke" | "token issued again";

export interface WorldOptions {
  /** The whole actor, with its storage between inputs, instead of its rules alone. */
  readonly asActor?: boolean;
  readonly policy: "wait" | "abort" | "takeover";
  readonly graceMs: number;
  readonly plant?: Plant;
}

const KIND = resourceActor({ writeLease: () => Promise.reject(new Error("Driven by hand: nothing is written here")) });
const ENDS: readonly string[] = [
  "resource.released",
  "resource.expired",
  "resource.preempted",
  "resource.taken_over",
  "resource.host_lost",
];

export class LockWorld {
  lock: ResourceContext = newLock("sunri-pi1:device2");
  readonly reference: ReferenceLock;
  nowMs = START_MS;
  /** Who was told of which token, the last one last. */
  readonly tokens = new Map<string, number>();
  readonly waiting = new Set<string>();
  readonly #plant: Plant;
  readonly #open = new Map<number, string>();
  readonly #ended = new Map<number, string>();
  /** The entry as hosts read it; it follows the lock in its own time. */
  #lease: Lease | null = null;
  /** The highest token that drove the device. */
  #driven = 0;

  readonly #actor: DrivenActor | null;
  readonly #told: { readonly waiting: Set<string>; holders: readonly string[] } = { waiting: new Set(), holders: [] };
  readonly #namesOf = (list: readonly { readonly holder: string }[]): string[] => list.map(({ holder }) => holder);

  constructor({ policy, graceMs, plant = "none", asActor = false }: WorldOptions) {
    this.#plant = plant;
    this.#actor = asActor ? new DrivenActor(KIND, this.lock.resource) : null;
    this.reference = new ReferenceLock(START_MS, policy, graceMs);
    this.send({ type: "configure", by: "client/ops", policy, graceMs }, "client/ops");
  }

  send(command: ResourceMessage, who: string): void {
    const before = JSON.stringify(this.lock);
    if (this.#actor !== null) {
      const isTask = who.startsWith("task/");
      this.#actor.clear().send(isTask ? command : { holder: who, ...command }, isTask ? who : "client-1");
      this.#takeFrom(this.#actor);
      return;
    }
    const { lock, facts, problem } = decide(this.lock, command, who, this.nowMs);
    if (problem !== null) expect(JSON.stringify(lock), "a refused command changes nothing").toBe(before);
    this.#take(lock, facts);
  }

  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    if (this.#actor !== null) this.#takeFrom(this.#actor.clear().advance(ms));
    for (let due = dueAtMs(this.lock); due !== null && due <= endMs; due = dueAtMs(this.lock)) {
      if (this.#actor !== null) throw new Error("The actor left something undone that was due");
      this.nowMs = Math.max(this.nowMs, due);
      const { lock, facts } = decide(this.lock, { type: "timePassed" }, null, this.nowMs);
      this.#take(lock, facts);
    }
    this.nowMs = endMs;
    this.reference.advance(ms);
  }

  /** The entry catches up with the lock. */
  showLease(): void {
    this.#lease = decodeLease(encodeLease(leaseOf(this.lock)));
  }

  /** Somebody who was granted once drives the device; the door decides. */
  drive(who: string): void {
    const token = this.tokens.get(who);
    if (token === undefined) return;
    const isGood = this.#plant === "door takes any token" || judgeToken(this.#lease, token, this.nowMs) === "good";
    if (!isGood) return;
    expect(token, `${who} drives under a token that is older than one that drove`).toBeGreaterThanOrEqual(this.#driven);
    this.#driven = token;
    const shown = this.#lease?.grants.map((grant) => grant.token) ?? [];
    expect(shown, "nothing drives without a lease").toContain(token);
  }

  audit(): void {
    const { reference, lock } = this;
    const held = lock.holders.map(({ holder, token, expiresAtMs }) => ({ holder, token, expiresAtMs }));
    const { holding } = reference;
    const expected =
      holding === null ? [] : [{ holder: holding.who, token: holding.token, expiresAtMs: holding.expiresAtMs }];
    expect(held).toEqual(expected);
    expect(lock.queue.map(({ holder }) => holder)).toEqual(reference.line);
    expect(Object.fromEntries(this.#ended)).toEqual(Object.fromEntries(reference.ends));
    const stopping = lock.stopping === null ? [] : [lock.stopping.to.holder];
    expect([...this.waiting].toSorted()).toEqual([...lock.queue.map(({ holder }) => holder), ...stopping].toSorted());
    const good = this.#lease?.grants.filter(({ token }) => judgeToken(this.#lease, token, this.nowMs) === "good") ?? [];
    expect(good.length).toBeLessThanOrEqual(1);
  }

  /** After this long without a word every lock is free and every waiter served: each lease ends by itself. */
  drain(longestMs: number): void {
    this.send({ type: "maintain", on: false, by: "client/ops", why: "end" }, "client/ops");
    this.reference.maintain(false);
    this.advance((this.waiting.size + 2) * longestMs);
    this.audit();
    expect([...this.waiting]).toEqual([]);
    expect(this.lock.holders).toEqual([]);
    expect([...this.#ended.keys()].toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: this.lock.token }, (_, i) => i + 1),
    );
  }

  /** What the wait-for graph knows is what the lock told. */
  #hearReport({ holders, joined, left }: LockChanged): void {
    for (const holder of left) expect(this.#told.waiting.delete(holder), "only who waited leaves").toBe(true);
    for (const { holder } of joined) this.#told.waiting.add(holder);
    this.#told.holders = holders;
  }

  #takeFrom(actor: DrivenActor): void {
    for (const { to, event } of actor.sent)
      if (to === "wait-graph/main") this.#hearReport(event as object as LockChanged);
    const line = this.#namesOf((actor.context as ResourceContext).queue);
    expect([...this.#told.waiting].toSorted()).toEqual(line.toSorted());
    if (line.length > 0) expect(this.#told.holders).toEqual(this.#namesOf((actor.context as ResourceContext).holders));
    this.lock = actor.context as ResourceContext;
    expect(actor.value).toBe(stateOf(this.lock));
    for (const { event } of actor.published) {
      const about = event.data as LockFact["about"];
      this.#hear({ type: event.type, priority: event.priority ?? "low", about, tell: null });
    }
  }

  #take(lock: ResourceContext, facts: readonly LockFact[]): void {
    this.lock = this.#plant === "token issued again" && lock.token === 3 ? { ...lock, token: 2 } : lock;
    for (const fact of this.#plant === "grant before revoke" ? endsLast(facts) : facts) this.#hear(fact);
  }

  #hear({ type, about: { holder, token, reason } }: LockFact): void {
    const who = holder ?? "";
    if (type === "resource.requested" || type === "resource.queued") this.waiting.add(who);
    if (type === "resource.left") this.waiting.delete(who);
    if (type === "resource.granted") {
      expect([...this.#open.values()], `${who} is granted while no other grant lasts`).toEqual([]);
      expect(token, "tokens count on").toBe(this.#open.size + this.#ended.size + 1);
      this.#open.set(token, who);
      this.tokens.set(who, token);
      this.waiting.delete(who);
    }
    if (type !== null && ENDS.includes(type)) {
      expect(this.#open.get(token), "an end is of a grant that lasts, and its holder's").toBe(who);
      this.#open.delete(token);
      this.#ended.set(token, String(reason));
    }
  }
}

const endsLast = (facts: readonly LockFact[]): LockFact[] => {
  const isEnd = ({ type }: LockFact) => type !== null && ENDS.includes(type);
  return [...facts.filter((fact) => !isEnd(fact)), ...facts.filter(isEnd)];
};
