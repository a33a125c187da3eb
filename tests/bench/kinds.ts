/** The actors of the benches: one counter, kept as usual or leaving memory soon. */
import { assign, setup } from "xstate";
import { reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";

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
