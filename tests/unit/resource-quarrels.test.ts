/** What a lab quarrels about, one lock at a time: who is asked, who is told, and how each grant ends. */
import { describe, expect, test } from "vitest";
import type { ResourceMessage } from "../../actors/messages/resource.ts";
import { resourceActor } from "../../actors/resource.ts";
import { CONFIRM_MS } from "../../actors/resource-grants.ts";
import { AGEING_MS } from "../../actors/resource-queue.ts";
import { GRACE_MS, type ResourceContext } from "../../actors/resource-state.ts";
import type { Priority } from "../../runtime/priority.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const ID = "sunri-pi1:device2";
const TTL_MS = 600_000;
const [A, B, C] = ["task/a", "task/b", "task/c"] as const;
const OPS = { by: "client/ops", why: "a demo at noon" } as const;
const kind = resourceActor({ writeLease: () => Promise.reject(new Error("Driven by hand: nothing is written here")) });

const acquire = (priority: Priority = "normal", ttlMs = TTL_MS): ResourceMessage => ({
  type: "acquire",
  priority,
  ttlMs,
});
const lock = () => new DrivenActor(kind, ID);
const contextOf = (actor: DrivenActor): ResourceContext => actor.context as ResourceContext;
const holders = (actor: DrivenActor) => contextOf(actor).holders.map(({ holder }) => holder);
const line = (actor: DrivenActor) => contextOf(actor).queue.map(({ holder }) => holder);
/** Without the reports of who waits for whom. */
const toHolders = (actor: DrivenActor) => actor.sent.filter(({ to }) => !to.startsWith("wait-graph/"));
const news = (actor: DrivenActor) => actor.published.map(({ event }) => event.type);
const ends = (actor: DrivenActor) => contextOf(actor).history.map(({ holder, reason }) => [holder, reason]);

describe("preemption", () => {
  const contended = () => lock().send(acquire("low"), A).send(acquire("high"), B).clear().send(acquire("critical"), C);

  test("asks the holder to pause, gives the freed lock to the critical one, and takes the holder back in its place", () => {
    const actor = contended();
    expect(actor.sent.filter(({ to }) => to === A)).toEqual([
      { to: A, event: { type: "resource.pause", resource: ID, token: 1, by: C, untilMs: START_MS + GRACE_MS } },
    ]);
    expect(actor.answer).toMatchObject({ state: "queued", position: 1, why: "kept" });
    actor.clear().send({ type: "yield", token: 1 }, A);
    expect(actor.sentTo(A)).toEqual(["resource.released", "resource.queued"]);
    expect(holders(actor)).toEqual([C]);
    expect(line(actor)).toEqual([B, A]);
    actor.send({ type: "release", token: 2 }, C).send({ type: "release", token: 3 }, B);
    expect(contextOf(actor).holders).toMatchObject([{ holder: A, token: 4 }]);
    expect(ends(actor)).toEqual([
      [A, "preempted"],
      [C, "released"],
      [B, "released"],
      [A, null],
    ]);
  });

  test("never asks an equal, and asks once", () => {
    const actor = lock().send(acquire("critical"), A).clear().send(acquire("critical"), B);
    expect(actor.sentTo(A)).toEqual([]);
    const other = contended().send(acquire("critical"), "task/d");
    expect(other.sentTo(A)).toEqual(["resource.pause"]);
  });

  test("waits for a holder without a safe point by default, and keeps the lock for the critical one", () => {
    const actor = contended().advance(GRACE_MS + 1);
    expect(holders(actor)).toEqual([A]);
    actor.send({ type: "bump", waiter: B, ...OPS }).send({ type: "release", token: 1 }, A);
    expect(holders(actor)).toEqual([C]);
  });

  test.each([
    ["abort", ["resource.pause", "resource.abort"], [A]],
    ["takeover", ["resource.pause", "resource.revoked"], []],
  ] as const)("does to a holder without a safe point what the policy says: %s", (policy, told, held) => {
    const actor = lock().send({ type: "configure", by: "client/ops", policy, graceMs: 1_000 });
    actor.send(acquire(), A).clear().send(acquire("critical"), C).advance(1_000);
    expect(actor.sentTo(A)).toEqual(told);
    expect(holders(actor)).toEqual(held);
    if (policy === "takeover") expect(holders(actor.send({ type: "stopped", token: 1 }, A))).toEqual([C]);
  });
});

describe("a forced takeover", () => {
  const taken = () =>
    lock()
      .send(acquire(), A)
      .send(acquire(), B)
      .clear()
      .send({ type: "takeover", ...OPS, ttlMs: TTL_MS });

  test("revokes, tells who and why, grants once the holder has stopped, and says that it confirmed", () => {
    const actor = taken();
    expect(actor.value).toBe("stopping");
    expect(holders(actor)).toEqual([]);
    expect(toHolders(actor)).toEqual([
      {
        to: A,
        event: {
          ...{ type: "resource.revoked", resource: ID, token: 1, reason: "taken over", expiredAtMs: START_MS },
          ...OPS,
        },
      },
    ]);
    actor.send({ type: "stopped", token: 1 }, B);
    expect(actor.answer).toMatchObject({ ok: false, code: "STALE_TOKEN" });
    actor.send({ type: "stopped", token: 1 }, A);
    expect(contextOf(actor)).toMatchObject({ holders: [{ holder: "client/ops", token: 2 }], queue: [{ holder: B }] });
    expect(contextOf(actor).history.at(-1)).toMatchObject({ confirmed: true });
    expect(actor.published.at(-1)?.event).toMatchObject({ type: "resource.granted", data: { confirmed: true } });
  });

  test("grants to a holder that stays silent for no longer than the wait, and says that nobody confirmed", () => {
    const actor = taken().advance(CONFIRM_MS - 1);
    expect(actor.value).toBe("stopping");
    actor.advance(1);
    expect(contextOf(actor).history.at(-1)).toMatchObject({ holder: "client/ops", confirmed: false });
  });

  test("leaves a kicked client that keeps sending with the reason", () => {
    const actor = lock().send({ ...acquire(), holder: "client/kid" });
    actor.send({ type: "takeover", ...OPS, ttlMs: TTL_MS }).send({ type: "renew", token: 1, holder: "client/kid" });
    expect(actor.answer).toMatchObject({ ok: false, code: "STALE_TOKEN" });
    expect(actor.answer).toMatchObject({
      message: expect.stringContaining('taken over by "client/ops": a demo at noon'),
    });
  });

  test("is an operator's alone, one at a time, and says why", () => {
    const actor = lock().send(acquire(), A);
    for (const [event, sender] of [
      [{ type: "takeover", ...OPS, ttlMs: TTL_MS }, B],
      [{ type: "takeover", ...OPS, why: " ", ttlMs: TTL_MS }, "client-1"],
      [{ type: "takeover", ...OPS, ttlMs: 0 }, "client-1"],
      [{ type: "takeover", ...OPS, ttlMs: TTL_MS, priority: "urgent" }, "client-1"],
    ] as const)
      expect(actor.send(event, sender).answer).toMatchObject({ ok: false, code: "BAD_REQUEST" });
    expect(holders(actor)).toEqual([A]);
    const other = { type: "takeover", by: "client/other", why: "me too", ttlMs: TTL_MS };
    expect(taken().send(other).answer).toMatchObject({
      ok: false,
      message: expect.stringContaining("being taken over"),
    });
  });
});

describe("the line", () => {
  test("serves twenty that come at once one after the other, each once", () => {
    const actor = lock();
    for (let i = 0; i < 20; i++) actor.send(acquire(), `task/${i}`);
    const served: string[] = [];
    for (let held = contextOf(actor).holders[0]; held !== undefined; held = contextOf(actor).holders[0]) {
      served.push(held.holder);
      actor.advance(1).send({ type: "release", token: held.token }, held.holder);
    }
    expect(served).toEqual(Array.from({ length: 20 }, (_, i) => `task/${i}`));
  });

  test("starts a low one within twice the ageing under a day of high ones", () => {
    const minute = 60_000;
    const actor = lock().send(acquire("high"), "task/h0").send(acquire("low"), A);
    let startedAfterMs = -1;
    for (let i = 1; i < 24 * 60 && startedAfterMs < 0; i++) {
      actor.advance(minute).send(acquire("high"), `task/h${i}`);
      const [held] = contextOf(actor).holders;
      if (held?.holder === A) startedAfterMs = actor.timeMs - START_MS;
      actor.send({ type: "release", token: held?.token ?? 0 }, held?.holder ?? "");
    }
    expect(startedAfterMs).toBeGreaterThan(0);
    expect(startedAfterMs).toBeLessThanOrEqual(2 * AGEING_MS + 2 * minute);
  });

  test("tells an estimate from past durations, and none before there is one", () => {
    const actor = lock().send(acquire(), A).send(acquire(), B);
    expect(actor.answer).toMatchObject({ estimateMs: null });
    actor.advance(60_000).send({ type: "release", token: 1 }, A).advance(20_000).send(acquire(), C);
    expect(actor.answer).toMatchObject({ position: 1, estimateMs: 40_000 });
  });

  test("is jumped by whom an operator bumps, with who and why on record", () => {
    const actor = lock().send(acquire(), A).send(acquire("high"), B).send(acquire("low"), C);
    actor.clear().send({ type: "bump", waiter: C, ...OPS });
    expect(line(actor)).toEqual([C, B]);
    expect(actor.published.at(-1)?.event).toMatchObject({ type: "resource.bumped", data: { holder: C, ...OPS } });
    expect(actor.send({ type: "bump", waiter: "task/x", ...OPS }).answer).toMatchObject({ code: "NOT_WAITING" });
  });
});

describe("time", () => {
  test("asks a holder before its lock ends, once, and lets it stay if it renews", () => {
    const actor = lock().send(acquire("normal", 40_000), A).clear().advance(30_000);
    expect(toHolders(actor)).toEqual([
      { to: A, event: { type: "resource.expiring", resource: ID, token: 1, expiresAtMs: START_MS + 40_000 } },
    ]);
    actor.send({ type: "renew", token: 1 }, A).advance(39_999);
    expect(holders(actor)).toEqual([A]);
    actor.advance(1);
    expect(ends(actor)).toEqual([[A, "expired"]]);
  });

  test("holds one that agreed to let go by a time to it, and leaves one that declined alone", () => {
    const byMs = START_MS + 10_000;
    const actor = lock().send(acquire(), A).clear().send({ type: "askRelease", token: 1, byMs }, B);
    expect(actor.sentTo(A)).toEqual(["resource.releaseAsked"]);
    actor.send({ type: "answerRelease", token: 1, accept: false }, A);
    expect(actor.sent.at(-1)).toEqual({
      to: B,
      event: { type: "resource.releaseAnswered", resource: ID, token: 1, accepted: false, byMs },
    });
    actor.send({ type: "askRelease", token: 1, byMs }, B).send({ type: "answerRelease", token: 1, accept: true }, A);
    actor.send({ type: "renew", token: 1 }, A).advance(10_000);
    expect(ends(actor)).toEqual([[A, "expired"]]);
  });

  test("ends one that agreed to let go by a time that is past now, and not before it began", () => {
    const actor = lock().send(acquire(), A).send({ type: "askRelease", token: 1, byMs: 0 }, B);
    actor.send({ type: "answerRelease", token: 1, accept: true }, A).advance(0);
    expect(contextOf(actor).history).toMatchObject([{ reason: "expired", endedAtMs: START_MS }]);
  });
});

describe("kinds of locks", () => {
  test("a counted one gives as many places as it has, and no place to a request that is larger than it", () => {
    const actor = lock().send({ type: "configure", by: "client/ops", capacity: 3 });
    for (const task of [A, B, C, "task/d"]) actor.send(acquire(), task);
    expect(holders(actor)).toEqual([A, B, C]);
    for (const permits of [0, -1, 1.5, 4])
      expect(actor.send({ ...acquire(), permits } as ResourceMessage, "task/e").answer).toMatchObject({
        code: "BAD_REQUEST",
      });
    actor.send({ type: "release", token: 2 }, B);
    expect(holders(actor)).toEqual([A, C, "task/d"]);
  });

  test("one that gets fewer places refuses whoever waits for more of them, so that nobody waits behind it for ever", () => {
    const actor = lock()
      .send({ type: "configure", by: "client/ops", capacity: 3 })
      .send({ ...acquire(), permits: 3 } as ResourceMessage, A)
      .send({ ...acquire(), permits: 2 } as ResourceMessage, B)
      .send(acquire(), C)
      .clear()
      .send({ type: "configure", by: "client/ops", capacity: 1 });
    expect(actor.sentTo(B)).toEqual(["resource.refused"]);
    expect(line(actor)).toEqual([C]);
    // Whoever pauses with more places than there are left has no place to wait for.
    actor.clear().send({ type: "yield", token: 1 }, A);
    expect(actor.sentTo(A)).toEqual(["resource.released", "resource.queued", "resource.refused"]);
    expect(holders(actor)).toEqual([C]);
  });

  test("a counted one says granted to whom it grants past a line that waits for more places", () => {
    const actor = lock().send({ type: "configure", by: "client/ops", capacity: 3 });
    actor.send({ ...acquire(), permits: 2 }, A).send({ ...acquire(), permits: 2 }, B);
    expect(actor.send(acquire("critical"), C).answer).toMatchObject({ state: "granted", token: 2 });
    expect(line(actor)).toEqual([B]);
  });

  test("a counted one that is made smaller turns away who wants more, with the reason, and serves the others", () => {
    const actor = lock().send({ type: "configure", by: "client/ops", capacity: 3 });
    actor
      .send({ ...acquire(), permits: 3 }, A)
      .send({ ...acquire(), permits: 2 }, B)
      .send(acquire(), C)
      .clear();
    actor.send({ type: "configure", by: "client/ops", capacity: 1 });
    const reason = "wants 2 permits, and the capacity is 1 now";
    expect(actor.sent).toContainEqual({ to: B, event: { type: "resource.refused", resource: ID, reason } });
    expect(line(actor)).toEqual([C]);
    actor.send({ type: "release", token: 1 }, A);
    expect(holders(actor)).toEqual([C]);
  });

  test("one in maintenance lets its holder end and grants nobody until it is over", () => {
    const actor = lock()
      .send(acquire(), A)
      .send({ type: "maintain", on: true, ...OPS });
    actor.send(acquire("critical"), B).send({ type: "release", token: 1 }, A);
    expect(actor.value).toBe("closed");
    expect(actor.send(acquire(), C).answer).toMatchObject({ state: "queued", why: "maintenance", holder: "" });
    actor.advance(1_000); // one grant has ended, but when this is over nobody can tell
    expect(actor.send(acquire(), C).answer).toMatchObject({ estimateMs: null });
    actor.send({ type: "maintain", on: false, ...OPS });
    expect(holders(actor)).toEqual([B]);
  });

  test("one whose host is lost ends its grants for that reason, and only the device says so", () => {
    const actor = lock().send(acquire(), A).send(acquire(), B).clear();
    expect(actor.send({ type: "hostLost" }, "device/other:d").answer).toMatchObject({ ok: false });
    actor.send({ type: "hostLost" }, `device/${ID}`);
    expect(ends(actor)).toEqual([[A, "host lost"]]);
    expect(news(actor)).toEqual(["resource.host_lost"]);
    actor.send({ type: "hostBack" }, `device/${ID}`);
    expect(holders(actor)).toEqual([B]);
  });

  test("one whose host is lost is given to nobody who takes it over, but to him first when the host is back", () => {
    const actor = lock().send({ type: "hostLost" }, `device/${ID}`).send(acquire(), B);
    const taken = actor.send({ type: "takeover", ttlMs: TTL_MS, ...OPS });
    expect(taken.answer).toMatchObject({ ok: true, state: "queued", position: 1, why: "host lost" });
    expect(holders(actor)).toEqual([]);
    actor.send({ type: "hostBack" }, `device/${ID}`);
    expect(holders(actor)).toEqual(["client/ops"]);
  });
});
