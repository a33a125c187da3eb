import { describe, expect, test } from "vitest";
import { crewWorker } from "../../actors/crew-worker.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const CREW = "crew/night";
const capabilities = [{ name: "scan", version: "1.4.0" }];
const kind = crewWorker({ kind: "hand", capabilities, slots: 2, run: async ({ data }) => data });
const worker = () => new DrivenActor(kind, "night:0");
const work = (id: string, startByMs = START_MS + 1_000) => ({
  type: "work",
  work: { id, data: { n: 1 }, attempt: 1, startByMs },
});
const ended = (id: string, state: string, result: unknown, reason: string | null) => ({
  to: CREW,
  event: { type: "work.ended", work: id, state, result, reason },
});

describe("crew worker", () => {
  test("enlists with what it can do", () => {
    const actor = worker().send({ type: "hire", crew: "night" }, CREW);
    expect(actor.sent).toEqual([{ to: CREW, event: { type: "enlist", capabilities, slots: 2 } }]);
    expect(actor.value).toBe("idle");
  });

  test("does several pieces at once and answers each to its crew, once", () => {
    const actor = worker().send(work("a"), CREW).send(work("b"), "crew/day").send(work("a"), CREW);
    expect(actor.value).toBe("working");
    expect(actor.spawned).toEqual(["a", "b"].map((id) => ({ child: id, input: { id, data: { n: 1 }, attempt: 1 } })));
    actor.resolve(7, "b").reject({ name: "Error", message: "no film" }, "a");
    expect(actor.sent).toEqual([
      { ...ended("b", "done", 7, null), to: "crew/day" },
      ended("a", "failed", null, "no film"),
    ]);
    expect(actor.value).toBe("idle");
    expect(actor.invocations).toEqual([]);
    expect(actor.context).toMatchObject({ inHand: [], ended: 2 });
  });

  test("does not start what comes too late", () => {
    const actor = worker().send(work("a", START_MS - 1), CREW);
    expect(actor.spawned).toEqual([]);
    expect(actor.sent).toEqual([ended("a", "expired", null, "Its deadline passed on the way to the worker")]);
  });

  test("stops for the crew that gave the work, without a word; not for another", () => {
    const actor = worker().send(work("a"), CREW).send({ type: "stop", work: "a" }, "crew/day");
    expect(actor.invocations).toEqual(["a"]);
    actor.send({ type: "stop", work: "a" }, CREW);
    expect(actor.invocations).toEqual([]);
    expect(actor.sent).toEqual([]);
    expect(actor.value).toBe("idle");
  });

  test("fails work whose result is too large to be passed on, and takes nothing from who has no address", () => {
    const actor = worker().send(work("b")).send(work("a"), CREW).resolve("x".repeat(20_000), "a");
    expect(actor.spawned).toHaveLength(1);
    expect(actor.sent).toMatchObject([{ event: { work: "a", state: "failed", result: null } }]);
  });

  test.each([
    [{ slots: 0 }, 'Option "slots" is 0'],
    [{ slots: 1.5 }, 'Option "slots" is 1.5'],
    [{ capabilities: [{ name: "scan", version: "one" }] }, "cannot be of workers"],
  ])("is refused with %j", (options, message) => {
    expect(() => crewWorker({ kind: "hand", run: async () => null, ...options })).toThrow(message);
  });
});
