import { describe, expect, test } from "vitest";
import { poolOf, routerId } from "../../actors/messages/router.ts";
import { routerKind, SUBSCRIBER_LIMIT, UNHANDLED_LIMIT } from "../../actors/router.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const event = (type: string) => ({
  id: "1",
  source: "http",
  type,
  timeMs: START_MS,
  priority: "normal",
  data: {},
  device: null,
});
const route = (type: string) => ({ type: "route", event: event(type) });
const subscribe = (agent: string, ...types: string[]) => ({ type: "subscribe", agent, types });
const router = () => new DrivenActor(routerKind, "shared:alerts");

describe("router", () => {
  test("sends an event once to each agent whose types match, and answers with their names", () => {
    const actor = router()
      .send(subscribe("qa", "alert.*", "alert.freeze"))
      .send(subscribe("ops", "alert.freeze"))
      .send(subscribe("ci", "build.*"));
    actor.send(route("alert.freeze"));
    expect(actor.answer).toEqual({ agents: ["ops", "qa"] });
    expect(actor.sent).toEqual(
      ["agent/ops", "agent/qa"].map((to) => ({ to, event: { type: "event", event: event("alert.freeze") } })),
    );
    expect(actor.context).toMatchObject({ pool: "shared.alerts", routed: 1, unhandled: 0 });
  });

  test("counts what nobody wants and remembers the latest types, each once", () => {
    const actor = router().send(subscribe("ci", "build.*"));
    for (let i = 0; i < 30; i++) actor.send(route(`alert.t${i}`)).send(route("alert.same"));
    expect(actor.answer).toEqual({ agents: [] });
    expect(actor.sent).toEqual([]);
    expect(actor.published).toEqual([]);
    const { lastUnhandled, unhandled } = actor.context as { lastUnhandled: string[]; unhandled: number };
    expect(unhandled).toBe(60);
    expect(lastUnhandled).toHaveLength(UNHANDLED_LIMIT);
    expect(lastUnhandled.at(-1)).toBe("alert.same");
  });

  test("replaces a subscription by the agent's next one, and ends it", () => {
    const actor = router()
      .send(subscribe("qa", "alert.*"))
      .send(subscribe("qa", "build.*"))
      .send(route("alert.freeze"));
    expect(actor.answer).toEqual({ agents: [] });
    actor.send(route("build.deployed"));
    expect(actor.answer).toEqual({ agents: ["qa"] });
    actor.send({ type: "unsubscribe", agent: "qa" }).send(route("build.deployed"));
    expect(actor.answer).toEqual({ agents: [] });
  });

  test.each([[[]], [[""]], [[7]], ["alert.*"], [undefined]])("refuses the types %j and changes nothing", (types) => {
    const actor = router().send({ type: "subscribe", agent: "qa", types });
    expect(actor.answer).toMatchObject({ ok: false, code: "BAD_REQUEST" });
    expect(actor.context).toMatchObject({ subscriptions: [] });
  });

  test("refuses an agent id that no actor can have", () => {
    expect(() => router().send(subscribe("a.b", "alert.*"))).toThrow('The id "a.b" is not valid');
    expect(router().send(subscribe("__proto__", "alert.*")).send(route("alert.x")).answer).toEqual({
      agents: ["__proto__"],
    });
  });

  test("refuses more subscribers than it has room for, but still takes changes of those it has", () => {
    const actor = router();
    for (let i = 0; i < 40; i++) actor.send(subscribe(`a${i}`, "alert.*"));
    expect(SUBSCRIBER_LIMIT).toBeGreaterThan(40);
    expect(actor.send(route("alert.x")).answer).toMatchObject({ agents: expect.arrayContaining(["a0", "a39"]) });
    expect(actor.sent).toHaveLength(40);
  });
});

test.each(["shared.alerts", "own.qa-manager"])("routerId() and poolOf() are inverse for %s", (pool) => {
  expect(poolOf(routerId(pool))).toBe(pool);
});
