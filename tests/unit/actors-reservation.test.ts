/** Reservations, one at a time. Invariant: what ends one gives all its locks back, also before it has them all. */
import { expect, test } from "vitest";
import { reservationKind } from "../../actors/reservation.ts";
import type { ReservationContext } from "../../actors/reservation.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const TTL_MS = 30_000;
const [A, B] = ["rig:a", "rig:b"] as const;
const reserve = { type: "reserve", mode: "all", resources: [B, A], priority: "normal", ttlMs: TTL_MS };
const granted = (resource: string, token: number) => ({
  ...{ type: "resource.granted", resource, token },
  expiresAtMs: START_MS + TTL_MS,
});
const reasonOf = (actor: DrivenActor) => (actor.context as ReservationContext).reason;

/** It has the first of two locks. */
const waiting = (owner: string) => {
  const actor = new DrivenActor(reservationKind, "r1");
  if (owner.startsWith("client/")) actor.send({ ...reserve, holder: owner });
  else actor.send(reserve, owner);
  return actor.send(granted(A, 1), `resource/${A}`).clear();
};

test("a client that is gone while it waits keeps no lock beyond its time to live", () => {
  const actor = waiting("client/me").advance(TTL_MS - 1);
  expect(actor.value).toBe("acquiring");
  actor.clear().advance(1);
  expect([actor.value, reasonOf(actor)]).toEqual(["ended", "expired: its owner did not renew it"]);
  expect([actor.sentTo(`resource/${A}`), actor.sentTo(`resource/${B}`)]).toEqual([["cancel"], ["cancel"]]);
});

test("a client that renews waits on, and so does an actor, which cannot vanish", () => {
  const actor = waiting("client/me").advance(TTL_MS - 1);
  expect(actor.send({ type: "renew", holder: "client/you" }).answer).toMatchObject({ ok: false, code: "NOT_HOLDER" });
  expect(actor.send({ type: "renew", holder: "client/me" }).answer).toMatchObject({ ok: true });
  expect(actor.advance(TTL_MS - 1).value).toBe("acquiring");
  expect(waiting("task/a").advance(10 * TTL_MS).value).toBe("acquiring");
});

test("a lock whose policy is to abort ends the reservation that does not pause", () => {
  const actor = waiting("task/a").send(granted(B, 4), `resource/${B}`);
  expect(actor.value).toBe("held");
  actor.clear().send({ type: "resource.abort", resource: B, token: 4, by: "task/urgent" }, `resource/${B}`);
  expect([actor.value, reasonOf(actor)]).toEqual(["ended", `${B}: preempted by "task/urgent"`]);
  expect(actor.sentTo(`resource/${B}`)).toEqual(["cancel"]);
  expect(actor.sentTo("task/a")).toEqual(["reservation.ended"]);
});
