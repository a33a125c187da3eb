/** The machine of the golden records. Invariant: it is never changed, so what differs on replay is the runtime's doing. */
import { assign, fromPromise, raise, sendTo, setup } from "xstate";
import { ref, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import type { EventLike } from "../../runtime/envelope.ts";
import { now, random, sender, self, uniqueId } from "../../runtime/transition-scope.ts";

export interface Golden {
  readonly n: number;
  readonly at: Date | null;
  readonly ids: readonly unknown[];
  readonly bytes: Uint8Array;
  readonly got: readonly unknown[];
}

const machine = setup({
  actors: {
    work: fromPromise<unknown, number>(async ({ input }) => {
      if (input % 2 === 0) throw new RangeError(`No ${input}`);
      return { did: input };
    }),
    never: fromPromise(() => new Promise(() => undefined)),
  },
  types: { context: {} as Golden, events: {} as EventLike },
}).createMachine({
  context: { n: 0, at: null, ids: [], bytes: new Uint8Array([0, 1, 254, 255]), got: [] },
  type: "parallel",
  states: {
    count: {
      initial: "low",
      on: {
        INC: {
          actions: [
            assign({ n: ({ context }) => context.n + 1, at: () => new Date(now()) }),
            reply(({ context }) => context.n),
          ],
        },
      },
      states: { low: { always: { guard: ({ context }) => context.n >= 3, target: "high" } }, high: {} },
    },
    place: {
      initial: "here",
      states: {
        here: {
          initial: "a",
          states: { a: { on: { NEXT: "b" } }, b: {}, past: { type: "history" } },
          on: { GO: "there" },
        },
        there: { on: { BACK: "here.past" } },
      },
    },
    work: {
      initial: "idle",
      states: {
        idle: { on: { WORK: "busy", WAIT: "waiting" } },
        busy: {
          invoke: {
            id: "w",
            src: "work",
            input: ({ context }) => context.n,
            onDone: {
              target: "idle",
              actions: assign({ got: ({ context, event }) => [...context.got, event.output] }),
            },
            onError: {
              target: "idle",
              actions: assign({ got: ({ context, event }) => [...context.got, event.error] }),
            },
          },
        },
        waiting: { invoke: { id: "never", src: "never" }, after: { 86_400_000: "idle" } },
      },
    },
  },
  on: {
    ID: {
      actions: assign({ ids: ({ context }) => [...context.ids, uniqueId(), random(), sender() === "golden", self()] }),
    },
    SOON: { actions: raise({ type: "INC" }, { delay: 20, id: "soon" }) },
    FAR: {
      actions: [
        raise({ type: "INC" }, { delay: 999_999_999, id: "far" }),
        sendTo(() => ref("nobody", "x"), { type: "HI" }, { delay: 999_999_999 }),
      ],
    },
    SEND: {
      actions: sendTo(
        () => ref("nobody", "x"),
        ({ context }) => ({ type: "HI", n: context.n }),
      ),
    },
    THROW: {
      actions: assign(() => {
        throw new TypeError("As wanted");
      }),
    },
  },
});

export const golden = defineActor({
  kind: "golden",
  machine,
  version: 3,
  supervision: { strategy: "resume", intensity: 5, periodMs: 60_000 },
});

/** Who the records are of. */
export const GOLDEN_ADDRESS = { kind: "golden", id: "g-1" };
