/** A crew under random histories. Invariant checked: what was accepted ends exactly once, its size stays within its plan and does not flap. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { crewKind } from "../../actors/crew.ts";
import { type Load, scale } from "../../actors/crew-scale.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import { ASSIGNMENTS, BALANCES } from "../../actors/messages/crew.ts";
import { DrivenActor } from "../support/machine.ts";

const LIMITS = { min: 1, max: 8, backlogPerWorker: 3, growAfterMs: 1_000, shrinkAfterMs: 5_000 };

test("scale() stays within min and max, and decides no more often than the plan allows, whatever the noise", () => {
  const seen = fc.record({
    pauseMs: fc.integer({ min: 1, max: 1_500 }),
    backlog: fc.nat(60),
    isTurningAway: fc.boolean(),
    isSpare: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(seen, { minLength: 1, maxLength: 200 }), (history) => {
      let load: Load = { overSinceMs: null, spareSinceMs: null };
      let [hired, nowMs] = [LIMITS.min, 0];
      let last: { readonly atMs: number } | null = null;
      for (const { pauseMs, ...now } of history) {
        nowMs += pauseMs;
        const result = scale(load, { nowMs, hired, ...now }, LIMITS);
        load = result.load;
        if (result.change !== 0) {
          const sinceMs = last === null ? Infinity : nowMs - last.atMs;
          expect(sinceMs).toBeGreaterThanOrEqual(result.change > 0 ? LIMITS.growAfterMs : LIMITS.shrinkAfterMs);
          expect(result.change).toBeLessThanOrEqual(Math.max(1, hired));
          last = { atMs: nowMs };
        }
        hired += result.change;
        expect(hired).toBeGreaterThanOrEqual(LIMITS.min);
        expect(hired).toBeLessThanOrEqual(LIMITS.max);
      }
    }),
    { numRuns: 500 },
  );
});

test("scale() moves nothing under a load that swings faster than the plan's spans", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 200 }),
      fc.integer({ min: 2, max: 7 }),
      (pauses, hired) => {
        let load: Load = { overSinceMs: null, spareSinceMs: null };
        let nowMs = 0;
        for (const [turn, pauseMs] of pauses.entries()) {
          nowMs += pauseMs;
          const isPeak = turn % 2 === 0;
          const seen = { nowMs, hired, backlog: isPeak ? 100 : 0, isTurningAway: false, isSpare: !isPeak };
          const result = scale(load, seen, LIMITS);
          expect(result.change).toBe(0);
          load = result.load;
        }
      },
    ),
  );
});

const ASKERS = ["task/a", "task/b", "client-1"];
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("submit" as const),
      asker: fc.nat(ASKERS.length - 1),
      id: fc.nat(40),
      data: fc.nat(3),
      needs: fc.constantFrom([], [], [{ name: "scan" }], [{ name: "fly", version: "^2.0.0" }]),
      deadlineMs: fc.integer({ min: 1, max: 4_000 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("end" as const),
      pick: fc.nat(100),
      state: fc.constantFrom("done", "failed"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 3_000 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("enlist" as const), pick: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("fail" as const), pick: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const) }) },
);
const plan = fc.record({
  balance: fc.constantFrom(...BALANCES),
  assignment: fc.constantFrom(...ASSIGNMENTS),
  whenUnfit: fc.constantFrom("QUEUE", "REFUSE"),
  min: fc.nat(2),
  queueLimit: fc.integer({ min: 1, max: 6 }),
  attempts: fc.integer({ min: 1, max: 3 }),
});

/** Ends by `asker work`, as its asker heard them; what was refused at once was never accepted. */
function heard(actor: DrivenActor): string[] {
  const told = actor.sent
    .filter(({ to, event }) => event.type === "work.ended" && event["state"] !== "refused" && ASKERS.includes(to))
    .map(({ to, event }) => `${to} ${String(event["work"])}`);
  const news = actor.published.map(({ event }) => `client-1 ${String((event.data as { work: string }).work)}`);
  return [...told, ...news];
}

test("crew: every accepted piece of work ends exactly once for its asker, and its size stays within the plan", () => {
  fc.assert(
    fc.property(plan, fc.array(step, { minLength: 10, maxLength: 60 }), (given, steps) => {
      const max = 4;
      const spans = {
        deadlineMs: 4_000,
        attemptMs: 1_000,
        growAfterMs: 500,
        shrinkAfterMs: 2_000,
        consolidateMs: 1_000,
      };
      const delegateTo = given.assignment === "DELEGATED" ? "crew/day" : null;
      const actor = new DrivenActor(crewKind, "night");
      actor.send({
        type: "declare",
        plan: { worker: "hand", max, backlogPerWorker: 1, delegateTo, ...spans, ...given },
      });
      const accepted = new Set<string>();
      const context = () => actor.context as CrewContext;
      for (const each of steps) {
        const { members, running } = context();
        if (each.do === "submit") {
          const asker = ASKERS[each.asker] as string;
          const work = { id: `w${each.id}`, data: each.data, needs: each.needs, deadlineMs: each.deadlineMs };
          const { ok } = actor.send({ type: "submit", work }, asker).answer as { readonly ok: boolean };
          if (ok) accepted.add(`${asker} ${work.id}`);
        } else if (each.do === "end" && running.length > 0) {
          const { job, worker } = running[each.pick % running.length] as CrewContext["running"][number];
          actor.send(
            { type: "work.ended", work: job.id, state: each.state, result: 1, reason: null },
            job.tried[each.pick % job.tried.length] ?? worker,
          );
        } else if (each.do === "advance") actor.advance(each.ms);
        else if (each.do === "enlist" && members.length > 0) {
          const name = members[each.pick % members.length]?.name ?? "";
          actor.send(
            { type: "enlist", capabilities: [{ name: "scan", version: "1.0.0" }], slots: 1 + (each.pick % 2) },
            name,
          );
        } else if (each.do === "enlist")
          actor.send({ type: "enlist", capabilities: [{ name: "fly", version: "2.1.0" }], slots: 1 }, "probe/p1");
        else if (each.do === "leave") actor.send({ type: "leave" }, "probe/p1");
        else if (each.do === "fail" && members.length > 0) {
          const [kind = "", id = ""] = (members[each.pick % members.length]?.name ?? "").split("/");
          actor.send({ type: "actor.failed", kind, id, reason: "poison" }, `${kind}/${id}`);
        }
        const hired = context().members.filter(({ number, isLeaving }) => number !== null && !isLeaving).length;
        expect(hired).toBeGreaterThanOrEqual(given.min);
        expect(hired).toBeLessThanOrEqual(max);
        for (const { name, running: n } of context().members)
          expect(n).toBe(context().running.filter(({ worker }) => worker === name).length);
      }
      actor.advance(60_000); // all deadlines and attempts are over
      const ends = heard(actor);
      expect(ends.toSorted()).toEqual([...accepted].toSorted());
      expect(context()).toMatchObject({ queue: [], unfit: [], running: [], bytes: 0 });
    }),
    { numRuns: 300 },
  );
}, 60_000);
