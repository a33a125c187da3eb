/**
 * Router of one pool: passes each event to the agents that subscribed to its type. Invariant: an event reaches each
 * matching agent once, and one that nobody wanted is counted, never silently gone.
 */
import { assign, enqueueActions, setup } from "xstate";
import { checkAddress } from "../runtime/address.ts";
import { ref, reply } from "../runtime/author.ts";
import { defineActor } from "../runtime/define-actor.ts";
import { typeMatches } from "./classify.ts";
import { poolOf, type RouteReply, type RouterMessage } from "./messages/router.ts";

/** Subscribed agents of one pool at most. Further ones are refused. */
export const SUBSCRIBER_LIMIT = 1_000;
/** Types one agent subscribes to in one pool at most. */
export const TYPES_LIMIT = 100;
/** Types of unwanted events that are remembered, latest last: enough for an operator to see what is missing. */
export const UNHANDLED_LIMIT = 20;

interface Subscription {
  readonly agent: string;
  readonly types: readonly string[];
}

export interface RouterContext {
  readonly pool: string;
  readonly subscriptions: readonly Subscription[];
  readonly routed: number;
  readonly unhandled: number;
  readonly lastUnhandled: readonly string[];
}

const matching = (context: RouterContext, type: string): readonly string[] =>
  context.subscriptions
    .filter(({ types }) => types.some((pattern) => typeMatches(pattern, type)))
    .map(({ agent }) => agent);

/** Why a subscription cannot be taken, or null. A bad agent id throws: no such agent can exist. */
function refusal(context: RouterContext, event: RouterMessage): string | null {
  if (event.type !== "subscribe") return null;
  checkAddress("agent", event.agent);
  if (
    !Array.isArray(event.types) ||
    event.types.length === 0 ||
    event.types.length > TYPES_LIMIT ||
    !event.types.every((type: unknown) => typeof type === "string" && type !== "")
  ) {
    return `Types must be 1 to ${TYPES_LIMIT} texts such as "alert.blackscreen" or "alert.*"`;
  }
  const isNew = !context.subscriptions.some(({ agent }) => agent === event.agent);
  return isNew && context.subscriptions.length >= SUBSCRIBER_LIMIT
    ? `Pool "${context.pool}" has ${SUBSCRIBER_LIMIT} subscribers: remove one first`
    : null;
}

const machine = setup({
  types: {} as { context: RouterContext; events: RouterMessage; input: { readonly id: string } },
  guards: {
    isRefused: ({ context, event }) => refusal(context, event) !== null,
    isWanted: ({ context, event }) => event.type === "route" && matching(context, event.event.type).length > 0,
  },
  actions: {
    refuse: reply(({ context, event }) => ({ ok: false, code: "BAD_REQUEST", message: refusal(context, event) })),
    subscribe: assign(({ context, event }) => {
      if (event.type !== "subscribe") return {};
      const others = context.subscriptions.filter(({ agent }) => agent !== event.agent);
      const all = [...others, { agent: event.agent, types: [...event.types] }];
      return { subscriptions: all.toSorted((a, b) => (a.agent < b.agent ? -1 : 1)) };
    }),
    unsubscribe: assign(({ context, event }) =>
      event.type === "unsubscribe"
        ? { subscriptions: context.subscriptions.filter(({ agent }) => agent !== event.agent) }
        : {},
    ),
    passOn: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== "route") return;
      for (const agent of matching(context, event.event.type)) {
        enqueue.sendTo(ref("agent", agent), { type: "event", event: event.event });
      }
    }),
    countRouted: assign({ routed: ({ context }) => context.routed + 1 }),
    countUnhandled: assign(({ context, event }) => {
      if (event.type !== "route") return {};
      const { type } = event.event;
      const others = context.lastUnhandled.filter((other) => other !== type);
      return { unhandled: context.unhandled + 1, lastUnhandled: [...others, type].slice(-UNHANDLED_LIMIT) };
    }),
    answerRoute: reply(
      ({ context, event }): RouteReply => ({
        agents: event.type === "route" ? matching(context, event.event.type) : [],
      }),
    ),
    answerOk: reply(() => ({ ok: true })),
  },
}).createMachine({
  id: "router",
  context: ({ input }) => ({ pool: poolOf(input.id), subscriptions: [], routed: 0, unhandled: 0, lastUnhandled: [] }),
  initial: "routing",
  states: {
    routing: {
      on: {
        subscribe: [{ guard: "isRefused", actions: "refuse" }, { actions: ["subscribe", "answerOk"] }],
        unsubscribe: { actions: ["unsubscribe", "answerOk"] },
        route: [
          { guard: "isWanted", actions: ["passOn", "countRouted", "answerRoute"] },
          { actions: ["countUnhandled", "answerRoute"] },
        ],
      },
    },
  },
});

export const routerKind = defineActor({ kind: "router", machine, historyDays: 7 });
