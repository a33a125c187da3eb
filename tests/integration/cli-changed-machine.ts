/** A lock that somebody has changed: it refuses what the present one grants. For `replay --machine`. */
import { setup } from "xstate";
import { reply } from "../../runtime/author.ts";

type Message = { readonly type: "acquire" | "release" | "renew" | "cancel" };

export const machine = setup({
  types: { events: {} as Message, context: {} as { readonly refused: number } },
  actions: { refuse: reply(() => ({ ok: false })) },
}).createMachine({
  context: { refused: 0 },
  initial: "closed",
  states: { closed: { on: { acquire: { actions: "refuse" }, release: {}, renew: {}, cancel: {} } } },
});
