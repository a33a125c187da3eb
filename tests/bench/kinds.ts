/** The actors of the benches: one counter, kept as usual or leaving memory soon. */
import { setTimeout } from "node:timers/promises";
import { assign, enqueueActions, setup } from "xstate";
import { crewWorker } from "../../actors/crew-worker.ts";
import type { WorkEnded } from "../../actors/messages/crew.ts";
import { ref, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { uniqueId } from "../../runtime/transition-scope.ts";

interface Context {
  readonly n: number;
}

const machine = setup({
  types: { context: {} as Context, events: {} as { readonly type: "add"; readonly by: number } },
}).createMachine({
  context: { n: 0 },
  on: {
    add: {
      actions: [
        assign({ n: ({ context, event }) => context.n + event.by }),
        reply(({ context }: { context: Context }) => ({ n: context.n })),
      ],
    },
  },
});

export const counter = defineActor({ kind: "counter", machine });
/** Leaves memory as soon as it is stored. */
export const sleeper = defineActor({ kind: "sleeper", machine, passivateAfterMs: 1_000 });
export const ADD = { type: "add", by: 1 } as const;

/** Time that the processes of one machine share, in ms with fractions. */
export const wallMs = (): number => performance.timeOrigin + performance.now();

/** A worker whose work is nothing: what is measured is the way to it. */
export const hand = crewWorker({
  kind: "hand",
  slots: 16,
  run: async () => ({ startedAtMs: wallMs(), stoppedAtMs: wallMs() }),
});

/** How long a lasting piece of work takes, in ms. */
export const LASTING_MS = 20_000;
/** A worker whose work lasts, and does nothing meanwhile. */
export const lasting = crewWorker({
  kind: "lasting",
  slots: 128,
  run: async (_, signal) => {
    const startedAtMs = wallMs();
    await setTimeout(LASTING_MS, undefined, { signal });
    return { startedAtMs, stoppedAtMs: wallMs() };
  },
});

interface Drive {
  readonly type: "drive";
  readonly crew: string;
  /** Pieces of work kept under way; 0 ends it. */
  readonly inFlight: number;
}

/** An actor that asks a crew for the next piece of work whenever one has ended. */
export const driver = defineActor({
  kind: "driver",
  machine: setup({
    types: {
      context: {} as { readonly crew: string; readonly wanted: number },
      events: {} as Drive | WorkEnded,
    },
    actions: {
      ask: enqueueActions(({ context, event, enqueue }) => {
        const crew = event.type === "drive" ? event.crew : context.crew;
        const wanted = event.type === "drive" ? event.inFlight : context.wanted;
        const count = event.type === "drive" ? event.inFlight : Math.min(1, wanted);
        for (let i = 0; i < count; i++)
          enqueue.sendTo(ref("crew", crew), { type: "submit", work: { id: uniqueId(), data: null } });
        enqueue.assign({ crew, wanted });
      }),
    },
  }).createMachine({
    context: { crew: "", wanted: 0 },
    on: { drive: { actions: "ask" }, "work.ended": { actions: "ask" } },
  }),
});
