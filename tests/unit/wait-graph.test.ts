/** Deadlocks: which waits are a cycle, who gives way, and that nobody is a victim of a late report. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findDeadlock, type Locks } from "../../actors/wait-cycle.ts";
import { CONFIRM_CYCLE_MS, waitGraphKind } from "../../actors/wait-graph.ts";
import type { Priority } from "../../runtime/priority.ts";
import { DrivenActor } from "../support/machine.ts";

const wait = (holder: string, sinceMs: number, priority: Priority = "normal") => ({ holder, sinceMs, priority });
/** `n` tasks, each of which holds one and waits for the next one's. */
const ring = (n: number): Locks =>
  Object.fromEntries(
    Array.from({ length: n }, (_, i) => [
      `h:d${i}`,
      { holders: [`task/${i}`], waiting: [wait(`task/${(i + n - 1) % n}`, 100 + i)] },
    ]),
  );

describe("findDeadlock()", () => {
  test.each([2, 5, 50])("names the cycle of %i and the youngest as the victim", (n) => {
    const found = findDeadlock(ring(n));
    expect(found?.cycle).toHaveLength(n);
    expect(found?.victim).toMatchObject({ sinceMs: 100 + n - 1, resource: `h:d${n - 1}` });
  });

  test("takes the lowest priority before the youngest", () => {
    const locks = {
      a: { holders: ["task/1"], waiting: [wait("task/2", 1, "low")] },
      b: { holders: ["task/2"], waiting: [wait("task/1", 9, "high")] },
    };
    expect(findDeadlock(locks)?.victim.holder).toBe("task/2");
  });

  test("finds none while somebody can go on", () => {
    const { "h:d4": _, ...chain } = ring(5);
    expect(findDeadlock(chain)).toBeNull();
    // One of the two places may become free.
    const counted = { ...ring(2), "h:d0": { holders: ["task/0", "task/free"], waiting: [wait("task/1", 1)] } };
    expect(findDeadlock(counted)).toBeNull();
    expect(findDeadlock({ a: { holders: [], waiting: [wait("task/1", 1)] } })).toBeNull();
  });

  test("finds one exactly when some who wait cannot be served in any order", () => {
    const who = fc.integer({ min: 0, max: 5 }).map((n) => `task/${n}`);
    const lock = fc.record({ holder: who, waiting: fc.uniqueArray(who, { maxLength: 3 }) });
    fc.assert(
      fc.property(fc.array(lock, { minLength: 1, maxLength: 6 }), (given) => {
        const locks = Object.fromEntries(
          given.map(({ holder, waiting }, i) => [
            `r${i}`,
            { holders: [holder], waiting: waiting.filter((each) => each !== holder).map((each, k) => wait(each, k)) },
          ]),
        );
        // Whoever waits for nothing ends and frees what it holds, until nobody can.
        let left = Object.values(locks);
        for (let before = -1; before !== left.length; ) {
          before = left.length;
          const waits = new Set(left.flatMap(({ waiting }) => waiting.map(({ holder }) => holder)));
          left = left.filter(({ holders }) => waits.has(holders[0] ?? ""));
        }
        const isStuck = left.some(({ waiting }) => waiting.length > 0);
        expect(findDeadlock(locks) !== null).toBe(isStuck);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("the wait-for graph", () => {
  const report = (actor: DrivenActor, locks: Locks, id: string) =>
    actor.send(
      {
        type: "lockChanged",
        resource: id,
        holders: locks[id]?.holders ?? [],
        joined: locks[id]?.waiting ?? [],
        left: [],
      },
      `resource/${id}`,
    );

  test("refuses the victim once the cycle has lasted, and names it", () => {
    const actor = new DrivenActor(waitGraphKind, "main");
    const locks = ring(2);
    for (const id of Object.keys(locks)) report(actor, locks, id);
    actor.advance(CONFIRM_CYCLE_MS - 1);
    expect(actor.sent).toEqual([]);
    actor.advance(1);
    expect(actor.sent).toMatchObject([
      { to: "resource/h:d1", event: { type: "refuseWaiter", waiter: "task/0", sinceMs: 101 } },
    ]);
    expect(actor.sent[0]?.event["reason"]).toMatch(/^deadlock: task\/1 waits for h:d0, task\/0 waits for h:d1;/);
    expect(actor.published).toMatchObject([{ event: { type: "resource.deadlock", priority: "high" } }]);
    actor.send(
      { type: "lockChanged", resource: "h:d1", holders: ["task/1"], joined: [], left: ["task/0"] },
      "resource/h:d1",
    );
    expect(actor.value).toBe("watching");
    expect(actor.context).toMatchObject({ broken: 1 });
  });

  test("spares those of a cycle that a late report made up", () => {
    const actor = new DrivenActor(waitGraphKind, "main");
    const locks = ring(2);
    for (const id of Object.keys(locks)) report(actor, locks, id);
    actor.advance(CONFIRM_CYCLE_MS / 2);
    report(actor, { "h:d0": { holders: ["task/9"], waiting: [] } }, "h:d0");
    expect(actor.value).toBe("watching");
    expect(actor.advance(10_000).sent).toEqual([]);
  });

  test("believes only the lock itself", () => {
    const actor = new DrivenActor(waitGraphKind, "main");
    for (const [resource, lock] of Object.entries(ring(2)))
      actor.send({ type: "lockChanged", resource, holders: lock.holders, joined: lock.waiting, left: [] }, "task/liar");
    expect(actor.context).toMatchObject({ locks: {} });
  });
});
