/** What a transition may ask for. Invariant: a timer has a time: one without would never fire, and keep the others from firing. */
import { describe, expect, test } from "vitest";
import { raise, setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { DrivenActor } from "../support/machine.ts";

const machine = setup({
  types: {
    context: {} as { delay: number },
    events: {} as { type: "WAIT"; delay: number } | { type: "SOON" | "FIRED" },
  },
}).createMachine({
  context: { delay: 0 },
  initial: "idle",
  states: {
    idle: {
      on: {
        WAIT: {
          actions: raise({ type: "FIRED" }, { id: "wait", delay: ({ event }) => (event as { delay: number }).delay }),
        },
        SOON: { actions: raise({ type: "FIRED" }, { id: "soon", delay: 10 }) },
        FIRED: "fired",
      },
    },
    fired: {},
  },
});
const kind = defineActor({ kind: "timed", machine });

describe("a delayed event", () => {
  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e300])(
    "with the delay %d is refused, and other timers fire",
    (delay) => {
      const actor = new DrivenActor(kind, "a");
      expect(() => actor.send({ type: "WAIT", delay })).toThrow("delay");
      actor.send({ type: "SOON" }).advance(10);
      expect(actor.value).toBe("fired");
    },
  );

  test("with a negative delay fires at once", () => {
    const actor = new DrivenActor(kind, "b").send({ type: "WAIT", delay: -5 }).advance(0);
    expect(actor.value).toBe("fired");
  });
});
