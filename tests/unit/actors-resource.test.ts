import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resourceActor } from "../../actors/resource.ts";
import type { ResourceMessage } from "../../actors/messages/resource.ts";
import { decide } from "../../actors/resource-rules.ts";
import { newLock, REFUSAL_KEPT_MS, REFUSALS_LIMIT, type ResourceContext } from "../../actors/resource-state.ts";
import { enqueue, leave, positionOf, type Queue, QUEUE_LIMIT } from "../../actors/resource-queue.ts";
import { PRIORITIES, type Priority, priorityRank } from "../../runtime/priority.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const ID = "sunri-pi1:device2";
const TTL_MS = 30_000;
const A = "task/a";
const B = "task/b";
const C = "task/c";

const acquire = (priority: Priority = "normal", ttlMs = TTL_MS) => ({ type: "acquire", priority, ttlMs });
const kind = resourceActor({ writeLease: () => Promise.reject(new Error("Driven by hand: nothing is written here")) });
const lock = () => new DrivenActor(kind, ID);
/** The one holder of an exclusive lock. */
const holderOf = (actor: DrivenActor) => contextOf(actor).holders[0];
const contextOf = (actor: DrivenActor): ResourceContext => actor.context as ResourceContext;
/** Without the reports of who waits for whom. */
const toHolders = (actor: DrivenActor) => actor.sent.filter(({ to }) => !to.startsWith("wait-graph/"));
const types = (actor: DrivenActor) => actor.published.map(({ event }) => event.type);

describe("resource", () => {
  test("grants a free lock with token 1, and tells the holder, the asker and the pool", () => {
    const actor = lock().send(acquire(), A);
    expect(actor.value).toBe("held");
    expect(actor.answer).toEqual({ ok: true, state: "granted", token: 1, expiresAtMs: START_MS + TTL_MS });
    expect(toHolders(actor)).toEqual([
      { to: A, event: { type: "resource.granted", resource: ID, token: 1, expiresAtMs: START_MS + TTL_MS } },
    ]);
    expect(types(actor)).toEqual(["resource.requested", "resource.granted"]);
    expect(actor.published.slice(1)).toMatchObject([
      {
        pool: "shared.resources",
        event: {
          type: "resource.granted",
          data: { resource: ID, token: 1, holder: A, host_name: "sunri-pi1", device_id: "device2" },
        },
      },
    ]);
  });

  test("queues a second holder and hands over on release with a larger token", () => {
    const actor = lock().send(acquire(), A).clear().send(acquire(), B);
    const ticket = { position: 1, holder: A, why: "held", estimateMs: null };
    expect(actor.answer).toEqual({ ok: true, state: "queued", ...ticket });
    expect(toHolders(actor)).toEqual([{ to: B, event: { type: "resource.queued", resource: ID, ...ticket } }]);
    actor.clear().send({ type: "release", token: 1 }, A);
    expect(actor.answer).toEqual({ ok: true, state: "released" });
    expect(actor.sentTo(A)).toEqual(["resource.released"]);
    expect(actor.sent.at(-1)).toEqual({
      to: B,
      event: { type: "resource.granted", resource: ID, token: 2, expiresAtMs: START_MS + TTL_MS },
    });
    expect(types(actor)).toEqual(["resource.released", "resource.granted"]);
    expect(contextOf(actor).history).toMatchObject([
      { token: 1, holder: A, grantedAtMs: START_MS, endedAtMs: START_MS, reason: "released" },
      { token: 2, holder: B, grantedAtMs: START_MS, endedAtMs: null, reason: null },
    ]);
  });

  test("serves waiters by priority, then by arrival", () => {
    const actor = lock()
      .send(acquire(), A)
      .send(acquire("low"), "task/l")
      .send(acquire(), B)
      .send(acquire("critical"), C)
      .send(acquire(), "task/d");
    const order: string[] = [];
    for (let held = holderOf(actor); held !== undefined; held = holderOf(actor)) {
      order.push(held.holder);
      actor.send({ type: "release", token: held.token }, held.holder);
    }
    expect(order).toEqual([A, C, B, "task/d", "task/l"]);
    expect(actor.value).toBe("free");
  });

  test("gives the same holder its grant or its place again, without a new token", () => {
    const actor = lock().send(acquire(), A).send(acquire(), A);
    expect(actor.answer).toMatchObject({ state: "granted", token: 1 });
    actor.send(acquire(), B).send(acquire("critical"), B);
    expect(actor.answer).toMatchObject({ ok: true, state: "queued", position: 1, holder: A });
    expect(contextOf(actor).queue).toHaveLength(1);
  });

  test("tells a client that was taken out of the line so once, when it asks again soon", () => {
    const ask = { ...acquire(), holder: "client/b" };
    const cut = { type: "refuseWaiter", waiter: "client/b", reason: "Deadlock: b, a, b" };
    const broken = () => {
      const actor = lock().send(acquire("normal", 86_400_000), A).send(ask);
      return actor.send({ ...cut, sinceMs: actor.timeMs }, "wait-graph/main");
    };
    const actor = broken().send(ask);
    expect(actor.answer).toEqual({ ok: false, code: "DEADLOCK", message: cut.reason });
    expect(contextOf(actor).queue).toEqual([]);
    expect(actor.send(ask).answer).toMatchObject({ ok: true, state: "queued", position: 1 });
    expect(broken().advance(REFUSAL_KEPT_MS).send(ask).answer).toMatchObject({ ok: true, state: "queued" });
  });

  test("keeps the refusals of the latest clients only, and none of an actor, which was told", () => {
    const actor = lock().send(acquire(), A);
    const names = [...Array.from({ length: REFUSALS_LIMIT + 1 }, (_, i) => `client/${i}`), B];
    for (const holder of names) {
      actor.send({ ...acquire(), holder }, holder === B ? B : "client-1");
      actor.send(
        { type: "refuseWaiter", waiter: holder, sinceMs: actor.timeMs, reason: "Deadlock" },
        "wait-graph/main",
      );
    }
    expect(contextOf(actor).refusals?.map(({ holder }) => holder)).toEqual(names.slice(1, -1));
  });

  test.each([true, false])(
    "gives one who takes over a lock that was made smaller what it needs, latest first; all confirm: %s",
    (confirms) => {
      const [kid, ops] = ["client/kid", { by: "client/ops", why: "a fire" }];
      const actor = lock().send({ type: "configure", ...ops, capacity: 3 });
      for (const holder of [A, confirms ? C : kid, B]) actor.send({ ...acquire(), holder }, holder);
      actor.send({ type: "configure", ...ops, capacity: 1 }).send({ type: "takeover", ...ops, ttlMs: TTL_MS });
      expect(actor.answer).toMatchObject({ state: "queued", why: "taking over" });
      actor.send({ type: "stopped", token: 3 }, B);
      if (confirms) actor.send({ type: "stopped", token: 2 }, C);
      expect(contextOf(actor).holders).toEqual([]);
      actor.send({ type: "stopped", token: 1 }, A);
      expect(contextOf(actor).holders.map(({ holder }) => holder)).toEqual(["client/ops"]);
      expect(contextOf(actor).history.map(({ confirmed }) => confirmed)).toEqual([null, null, null, confirms]);
    },
  );

  test("passes on what one who takes over leaves of a grant of several places", () => {
    const ops = { by: "client/ops", why: "a fire" };
    const actor = lock().send({ type: "configure", ...ops, capacity: 3 });
    actor
      .send({ ...acquire(), holder: "client/kid", permits: 3 })
      .send(acquire(), A)
      .send(acquire(), B);
    actor.send({ type: "takeover", ...ops, ttlMs: TTL_MS });
    expect(contextOf(actor).holders.map(({ holder }) => holder)).toEqual(["client/ops", A, B]);
  });

  test("revokes an expired lock and passes it on", () => {
    const actor = lock()
      .send(acquire(), A)
      .send(acquire("normal", 5_000), B)
      .advance(TTL_MS - 1)
      .clear()
      .advance(1);
    expect(toHolders(actor)).toEqual([
      {
        to: A,
        event: {
          ...{ type: "resource.revoked", resource: ID, token: 1, reason: "expired", expiredAtMs: START_MS + TTL_MS },
          ...{ by: null, why: null },
        },
      },
      { to: B, event: { type: "resource.granted", resource: ID, token: 2, expiresAtMs: START_MS + TTL_MS + 5_000 } },
    ]);
    expect(types(actor)).toEqual(["resource.expired", "resource.granted"]);
    actor.advance(5_000);
    expect(actor.value).toBe("free");
    expect(contextOf(actor).history.map(({ reason }) => reason)).toEqual(["expired", "expired"]);
  });

  test("ends a grant at its expiry, though an outage delayed the timer", () => {
    const actor = lock()
      .send(acquire(), A)
      .advance(TTL_MS - 1)
      .clear();
    actor.timeMs += TTL_MS + 60_000;
    actor.advance(0);
    expect(actor.sent).toMatchObject([{ event: { type: "resource.revoked", expiredAtMs: START_MS + TTL_MS } }]);
    expect(contextOf(actor).history).toMatchObject([{ endedAtMs: START_MS + TTL_MS, reason: "expired" }]);
  });

  test("extends the expiry at each renewal, and only then", () => {
    const actor = lock().send(acquire(), A).advance(20_000).send({ type: "renew", token: 1 }, A);
    expect(actor.answer).toEqual({ ok: true, state: "granted", token: 1, expiresAtMs: START_MS + 20_000 + TTL_MS });
    actor.advance(TTL_MS - 1);
    expect(actor.value).toBe("held");
    actor.advance(1);
    expect(actor.value).toBe("free");
  });

  test("refuses a stale token and anybody but the holder, and nothing changes", () => {
    const actor = lock().send(acquire(), A).send({ type: "release", token: 1 }, A).send(acquire(), B);
    for (const type of ["release", "renew"]) {
      for (const [token, sender, code] of [
        [1, A, "STALE_TOKEN"],
        [3, B, "STALE_TOKEN"],
        ["2", B, "STALE_TOKEN"],
        [2, A, "NOT_HOLDER"],
        [2, "client-9", "NOT_HOLDER"],
      ] as const) {
        const before = actor.context;
        actor.send({ type, token }, sender);
        expect(actor.answer).toMatchObject({ ok: false, code });
        expect(actor.context).toEqual(before);
      }
    }
    expect(holderOf(actor)).toMatchObject({ holder: B, token: 2 });
  });

  test.each(["release", "renew", "yield", "answerRelease", "askRelease"])(
    "asks for the token that %s lacks, and does not tell a holder to stop",
    (type) => {
      const actor = lock().send(acquire(), A);
      actor.send({ type, byMs: START_MS, accept: true }, A);
      const message = `The command names no grant of resource "${ID}": give its token`;
      expect(actor.answer).toEqual({ ok: false, code: "BAD_REQUEST", message });
    },
  );

  test("lets a waiter cancel with a reason, and takes the holder's cancel as the end of its grant", () => {
    const actor = lock().send(acquire(), A).send(acquire(), B).clear().send({ type: "cancel" }, B);
    expect(toHolders(actor)).toEqual([
      { to: B, event: { type: "resource.refused", resource: ID, reason: "cancelled" } },
    ]);
    actor.clear().send({ type: "cancel" }, A);
    expect(toHolders(actor)).toEqual([
      { to: A, event: { type: "resource.released", resource: ID, token: 1, reason: "cancelled" } },
    ]);
    expect(actor.value).toBe("free");
    actor.clear().send({ type: "cancel" }, A);
    expect(actor.answer).toMatchObject({ ok: false, code: "NOT_WAITING" });
    expect(actor.sentTo(A)).toEqual(["resource.refused"]);
  });

  test("serves clients by the name they give, and does not let an actor speak for another", () => {
    const actor = lock().send({ ...acquire(), holder: "client/amir" });
    expect(actor.answer).toMatchObject({ ok: true, state: "granted", token: 1 });
    expect(toHolders(actor)).toEqual([]);
    actor.send({ ...acquire(), holder: "client/amir" }, B);
    expect(actor.answer).toMatchObject({ state: "queued" });
    actor.send({ type: "release", token: 1 });
    expect(holderOf(actor)).toMatchObject({ holder: B, token: 2 });
  });

  test.each([
    [{ type: "acquire", priority: "normal", ttlMs: TTL_MS }, "client-1", "needs to know its holder"],
    [{ type: "acquire", priority: "normal", ttlMs: TTL_MS, holder: "task/a" }, "client-1", "needs to know its holder"],
    [{ type: "acquire", priority: "urgent", ttlMs: TTL_MS }, A, 'priority "urgent" is not known'],
    [{ type: "acquire", priority: "normal", ttlMs: Number.NaN }, A, "is not a whole number"],
    [{ type: "acquire", priority: "normal", ttlMs: -1 }, A, "is not a whole number"],
    [{ type: "acquire", priority: "normal" }, A, "is not a whole number"],
  ] as const)("refuses %j of %s", (event, sender, message) => {
    const actor = lock().send(event, sender);
    expect(actor.answer).toMatchObject({ ok: false, code: "BAD_REQUEST", message: expect.stringContaining(message) });
    expect(actor.value).toBe("free");
    expect(actor.sentTo(A)).toEqual(sender === A ? ["resource.refused"] : []);
  });

  test("refuses the waiter that a full line has no room for, held or closed, and keeps the place of one that pauses", () => {
    let state = newLock(ID);
    const send = (command: ResourceMessage, who: string) => {
      const { lock: next, reply } = decide(state, command, who, START_MS);
      state = next;
      return reply;
    };
    const join = (who: string) => send({ type: "acquire", priority: "normal", ttlMs: TTL_MS }, who);
    join(A);
    for (let i = 0; i < QUEUE_LIMIT; i++) join(`task/${i}`);
    expect(join("task/x")).toMatchObject({ ok: false, code: "QUEUE_FULL" });
    expect(join("task/7")).toMatchObject({ ok: true, state: "queued", position: 8 });
    expect(send({ type: "maintain", on: true, by: "client/ops", why: "cables" }, "client/ops")).toMatchObject({
      ok: true,
    });
    send({ type: "yield", token: 1 }, A);
    expect(positionOf(state.queue, A)).toBe(QUEUE_LIMIT + 1);
    expect(state.holders).toEqual([]);
    expect(join("task/x")).toMatchObject({ ok: false, code: "QUEUE_FULL" });
  });
});

test("the waiting line stays ordered by priority then arrival, each holder once, for any joins and leaves", () => {
  const holder = fc.integer({ min: 0, max: 15 }).map((n) => `task/${n}`);
  const join = fc.record({ type: fc.constant("join" as const), holder, priority: fc.constantFrom(...PRIORITIES) });
  const go = fc.record({ type: fc.constant("leave" as const), holder });
  fc.assert(
    fc.property(fc.array(fc.oneof(join, join, go), { maxLength: 80 }), (steps) => {
      let queue: Queue = [];
      let model: { holder: string; rank: number; arrival: number }[] = [];
      steps.forEach((step, arrival) => {
        if (step.type === "leave") {
          queue = leave(queue, step.holder);
          model = model.filter((waiter) => waiter.holder !== step.holder);
          return;
        }
        queue = enqueue(queue, {
          holder: step.holder,
          priority: step.priority,
          ttlMs: 1_000,
          permits: 1,
          bumped: null,
          sinceMs: arrival,
        });
        if (!model.some((waiter) => waiter.holder === step.holder))
          model.push({ holder: step.holder, rank: priorityRank(step.priority), arrival });
      });
      const expected = model
        .toSorted((a, b) => a.rank - b.rank || a.arrival - b.arrival)
        .map((waiter) => waiter.holder);
      expect(queue.map((waiter) => waiter.holder)).toEqual(expected);
      expected.forEach((name, i) => expect(positionOf(queue, name)).toBe(i + 1));
    }),
  );
});
