/** An actor that rings in a pool. Invariant: it says itself that its timer fired, since a query would wake it. */
import { setup } from "xstate";
import { publish } from "../../runtime/author.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";

/** Kind `alarm`: `SET` has it publish `rung` to `shared.rings` after so many ms. */
export const alarmKind = (afterMs: number, passivateAfterMs?: number): ActorKind =>
  defineActor({
    kind: "alarm",
    ...(passivateAfterMs !== undefined && { passivateAfterMs }),
    machine: setup({
      types: { events: {} as { type: "SET" } },
      actions: { ring: publish("shared.rings", () => ({ type: "rung" })) },
    }).createMachine({
      initial: "quiet",
      states: {
        quiet: { on: { SET: "armed" } },
        armed: { after: { [afterMs]: { target: "quiet", actions: "ring" } } },
      },
    }),
  });
