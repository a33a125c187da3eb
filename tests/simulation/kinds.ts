/**
 * The machines of the simulated cluster. Invariant: what an actor did stands in its context, and everything it does outside
 * its state goes through the {@link Host} of the process that runs it.
 */
import { assign, fromPromise, sendTo, setup } from "xstate";
import { publish, ref, reply } from "../../runtime/author.ts";
import { type Clock, sleep } from "../../runtime/clock.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";

/** The process that runs invocations just now. */
export interface Host {
  readonly clock: Clock;
  /** An invocation acts on the world outside. */
  readonly onWork: (session: string) => void;
}

/** Money of a new account. */
export const OPENING_BALANCE = 1_000;
/** Small, so that snapshots, checkpoints and purges happen within a short history. */
const SNAPSHOT_EVERY = 5;
/** Idle actors leave memory within the history, in ms. */
const PASSIVATE_AFTER_MS = 1_200;
const COMMON = { snapshotEvery: SNAPSHOT_EVERY, passivateAfterMs: PASSIVATE_AFTER_MS };

type TallyEvent = { readonly type: "INC"; readonly by: number } | { readonly type: "BOOM" };

const tally = () =>
  defineActor({
    ...COMMON,
    kind: "tally",
    machine: setup({
      types: { context: {} as { n: number }, events: {} as TallyEvent },
      actions: {
        add: assign({ n: ({ context, event }) => context.n + (event.type === "INC" ? event.by : 0) }),
        show: reply(({ context }: { context: { n: number } }) => ({ n: context.n })),
        explode: assign(() => {
          throw new Error("Boom");
        }),
      },
    }).createMachine({ context: { n: 0 }, on: { INC: { actions: ["add", "show"] }, BOOM: { actions: "explode" } } }),
  });

type AccountEvent =
  | { readonly type: "TRANSFER"; readonly to: string; readonly amount: number }
  | { readonly type: "DEPOSIT"; readonly from: string; readonly no: number; readonly amount: number };

export interface AccountContext {
  readonly id: string;
  readonly balance: number;
  /** Transfers to each account, and deposits from each. */
  readonly sent: Readonly<Record<string, number>>;
  readonly received: Readonly<Record<string, number>>;
  /** Deposits that came twice, or before an earlier one. */
  readonly disorder: number;
}

const account = () =>
  defineActor({
    ...COMMON,
    kind: "account",
    machine: setup({
      types: { context: {} as AccountContext, events: {} as AccountEvent, input: {} as { id: string } },
      actions: {
        withdraw: assign(({ context, event }) =>
          event.type === "TRANSFER"
            ? {
                balance: context.balance - event.amount,
                sent: { ...context.sent, [event.to]: (context.sent[event.to] ?? 0) + 1 },
              }
            : {},
        ),
        forward: sendTo(
          ({ event }) => ref("account", event.type === "TRANSFER" ? event.to : "nobody"),
          ({ context, event }) =>
            event.type === "TRANSFER"
              ? { type: "DEPOSIT", from: context.id, no: context.sent[event.to] ?? 0, amount: event.amount }
              : event,
        ),
        deposit: assign(({ context, event }) => {
          if (event.type !== "DEPOSIT") return {};
          const expected = (context.received[event.from] ?? 0) + 1;
          return {
            balance: context.balance + event.amount,
            received: { ...context.received, [event.from]: expected },
            disorder: context.disorder + (event.no === expected ? 0 : 1),
          };
        }),
      },
    }).createMachine({
      context: ({ input }) => ({ id: input.id, balance: OPENING_BALANCE, sent: {}, received: {}, disorder: 0 }),
      on: { TRANSFER: { actions: ["withdraw", "forward"] }, DEPOSIT: { actions: "deposit" } },
    }),
  });

type AlarmEvent = { readonly type: "SET"; readonly ms: number } | { readonly type: "CANCEL" };

const alarm = () =>
  defineActor({
    ...COMMON,
    kind: "alarm",
    machine: setup({
      types: {
        context: {} as { id: string; ms: number; rings: number },
        events: {} as AlarmEvent,
        input: {} as { id: string },
      },
      delays: { wait: ({ context }) => context.ms },
      actions: {
        note: assign({ ms: ({ event }) => (event.type === "SET" ? event.ms : 0) }),
        ring: assign({ rings: ({ context }) => context.rings + 1 }),
        count: sendTo(({ context }) => ref("tally", `rings-${context.id}`), { type: "INC", by: 1 }),
      },
    }).createMachine({
      context: ({ input }) => ({ id: input.id, ms: 0, rings: 0 }),
      initial: "quiet",
      states: {
        quiet: { on: { SET: { target: "armed", actions: "note" }, CANCEL: {} } },
        armed: {
          on: { SET: { target: "armed", reenter: true, actions: "note" }, CANCEL: "quiet" },
          after: { wait: { target: "quiet", actions: ["ring", "count"] } },
        },
      },
    }),
  });

type JobEvent = { readonly type: "START"; readonly ms: number } | { readonly type: "STOP" };

const job = (host: () => Host) =>
  defineActor({
    ...COMMON,
    kind: "job",
    historyDays: 0,
    machine: setup({
      types: {
        context: {} as { id: string; ms: number; done: number; failed: number },
        events: {} as JobEvent,
        input: {} as { id: string },
      },
      actors: {
        work: fromPromise(async ({ input, signal, self }: { input: number; signal: AbortSignal; self: unknown }) => {
          const { clock, onWork } = host();
          const { sessionId } = self as { sessionId: string };
          onWork(sessionId);
          await sleep(clock, input, signal);
          return { sessionId };
        }),
      },
      actions: {
        note: assign({ ms: ({ event }) => (event.type === "START" ? event.ms : 0) }),
        succeed: assign({ done: ({ context }) => context.done + 1 }),
        fail: assign({ failed: ({ context }) => context.failed + 1 }),
        count: sendTo(({ context }) => ref("tally", `jobs-${context.id}`), { type: "INC", by: 1 }),
      },
    }).createMachine({
      context: ({ input }) => ({ id: input.id, ms: 0, done: 0, failed: 0 }),
      initial: "idle",
      states: {
        idle: { on: { START: { target: "working", actions: "note" }, STOP: {} } },
        working: {
          on: { STOP: "idle", START: {} },
          invoke: {
            src: "work",
            id: "work",
            input: ({ context }) => context.ms,
            onDone: { target: "idle", actions: ["succeed", "count"] },
            onError: { target: "idle", actions: "fail" },
          },
        },
      },
    }),
  });

const feed = () =>
  defineActor({
    ...COMMON,
    kind: "feed",
    machine: setup({
      types: { context: {} as { n: number }, events: {} as { type: "EMIT" } },
      actions: {
        count: assign({ n: ({ context }) => context.n + 1 }),
        say: publish("sim", ({ context }: { context: { n: number } }) => ({
          type: "emitted",
          data: { n: context.n },
        })),
      },
    }).createMachine({ context: { n: 0 }, on: { EMIT: { actions: ["count", "say"] } } }),
  });

/** All kinds; `host` tells which process runs an invocation that starts now. */
export const makeKinds = (host: () => Host): readonly ActorKind[] => [tally(), account(), alarm(), job(host), feed()];
