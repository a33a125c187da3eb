/** The machines that the fault suite runs. Invariant: their state alone tells how often each message took effect. */
import { assign, fromPromise, sendTo, setup } from "xstate";
import { crewKind } from "../../../actors/crew.ts";
import { crewWorker } from "../../../actors/crew-worker.ts";
import { ref, reply } from "../../../runtime/author.ts";
import { sleep, systemClock } from "../../../runtime/clock.ts";
import { defineActor } from "../../../runtime/define-actor.ts";

/** How long the work of a job takes, in ms: long enough to be killed in the middle. */
export const WORK_MS = 1_500;
/** Delay of an alarm, in ms. */
export const ALARM_MS = 1_500;
/** Money of a new account. */
export const OPENING_BALANCE = 1_000;

export type CounterEvent = { readonly type: "INC"; readonly by: number };

const counting = {
  kind: "counter",
  // Often, so that snapshots, checkpoints and purges happen within a short run.
  snapshotEvery: 20,
  machine: setup({
    types: { context: {} as { n: number }, events: {} as CounterEvent },
    actions: {
      add: assign({ n: ({ context, event }) => context.n + event.by }),
      tell: reply(({ context }: { context: { n: number } }) => ({ n: context.n })),
    },
  }).createMachine({ context: { n: 0 }, on: { INC: { actions: ["add", "tell"] } } }),
};

export const counter = defineActor(counting);
/** As a release later: its states say that they came by migration. */
const laterCounter = defineActor({
  ...counting,
  version: 2,
  migrate: (stored, from) => ({ ...stored, context: { ...(stored.context as object), migratedFrom: from } }),
});

export type AccountEvent =
  | { readonly type: "OPEN" }
  | { readonly type: "TRANSFER"; readonly to: string; readonly amount: number; readonly no: number }
  | { readonly type: "DEPOSIT"; readonly amount: number };

interface Account {
  readonly balance: number;
  readonly sent: number;
  readonly received: number;
}

export const account = defineActor({
  kind: "account",
  snapshotEvery: 20,
  machine: setup({
    types: { context: {} as Account, events: {} as AccountEvent },
    actions: {
      withdraw: assign(({ context, event }) =>
        event.type === "TRANSFER" ? { balance: context.balance - event.amount, sent: context.sent + 1 } : {},
      ),
      forward: sendTo(
        ({ event }) => ref("account", event.type === "TRANSFER" ? event.to : "nobody"),
        ({ event }) => ({ type: "DEPOSIT", amount: event.type === "TRANSFER" ? event.amount : 0 }),
      ),
      deposit: assign(({ context, event }) =>
        event.type === "DEPOSIT" ? { balance: context.balance + event.amount, received: context.received + 1 } : {},
      ),
    },
  }).createMachine({
    context: { balance: OPENING_BALANCE, sent: 0, received: 0 },
    on: { OPEN: {}, TRANSFER: { actions: ["withdraw", "forward"] }, DEPOSIT: { actions: "deposit" } },
  }),
});

interface Job {
  readonly id: string;
  readonly result: unknown;
  readonly failures: number;
}

/** What the worker prints when an invocation starts: the test sees each start, whoever ran it. */
export const invocationLine = (session: string): string => JSON.stringify({ invoked: session, pid: process.pid });

export const job = defineActor({
  kind: "job",
  machine: setup({
    types: { context: {} as Job, events: {} as { type: "START" }, input: {} as { id: string } },
    actors: {
      work: fromPromise(async ({ signal, self }) => {
        process.stdout.write(`${invocationLine(self.sessionId)}\n`);
        await sleep(systemClock, WORK_MS, signal);
        return { session: self.sessionId };
      }),
    },
    actions: {
      keep: assign({ result: ({ event }) => (event as unknown as { output: unknown }).output }),
      fail: assign({ failures: ({ context }) => context.failures + 1 }),
      count: sendTo(({ context }) => ref("counter", `jobs-${context.id}`), { type: "INC", by: 1 }),
    },
  }).createMachine({
    context: ({ input }) => ({ id: input.id, result: null, failures: 0 }),
    initial: "idle",
    states: {
      idle: { on: { START: "working" } },
      working: {
        invoke: {
          src: "work",
          id: "work",
          onDone: { target: "finished", actions: ["keep", "count"] },
          onError: { target: "failed", actions: "fail" },
        },
      },
      finished: {},
      failed: {},
    },
  }),
});

/** Shows what was written last, however large. */
export const board = defineActor({
  kind: "board",
  machine: setup({
    types: { context: {} as { text: string }, events: {} as { type: "WRITE"; text: string } },
    actions: { write: assign({ text: ({ event }) => event.text }) },
  }).createMachine({ context: { text: "" }, on: { WRITE: { actions: "write" } } }),
});

export const alarm = defineActor({
  kind: "alarm",
  machine: setup({
    types: { context: {} as { id: string; rings: number }, events: {} as { type: "SET" }, input: {} as { id: string } },
    delays: { wait: ALARM_MS },
    actions: {
      ring: assign({ rings: ({ context }) => context.rings + 1 }),
      count: sendTo(({ context }) => ref("counter", `rings-${context.id}`), { type: "INC", by: 1 }),
    },
  }).createMachine({
    context: ({ input }) => ({ id: input.id, rings: 0 }),
    initial: "quiet",
    states: {
      quiet: { on: { SET: "armed" } },
      armed: { after: { wait: { target: "rung", actions: ["ring", "count"] } } },
      rung: {},
    },
  }),
});

/** How long a piece of a crew's work takes, in ms: long enough to be killed in the middle. */
export const PIECE_MS = 250;

/** A worker of crews, which prints what it runs as a job does. */
export const hand = crewWorker({
  kind: "hand",
  slots: 8,
  run: async ({ id }, signal) => {
    process.stdout.write(`${invocationLine(id)}\n`);
    await sleep(systemClock, PIECE_MS, signal);
    return id;
  },
});

/** Who counts the beginnings of this actor. */
export const tallyOf = (id: string): string => `tally-${id.slice(-2)}`;

/** Says so when it begins to exist. */
export const starter = defineActor({
  kind: "starter",
  machine: setup({
    types: { context: {} as { id: string; n: number }, events: {} as { type: "HIT" }, input: {} as { id: string } },
    actions: {
      begin: sendTo(
        ({ context }) => ref("tally", tallyOf(context.id)),
        ({ context }) => ({ type: "BEGUN", id: context.id }),
      ),
      hit: assign({ n: ({ context }) => context.n + 1 }),
      tell: reply(({ context }: { context: { id: string; n: number } }) => ({ n: context.n })),
    },
  }).createMachine({
    context: ({ input }) => ({ id: input.id, n: 0 }),
    entry: "begin",
    on: { HIT: { actions: ["hit", "tell"] } },
  }),
});

/** How often each has begun. */
export const tally = defineActor({
  kind: "tally",
  machine: setup({
    types: { context: {} as { begun: Record<string, number> }, events: {} as { type: "BEGUN"; id: string } },
    actions: {
      count: assign({
        begun: ({ context: { begun }, event: { id } }) => ({ ...begun, [id]: (begun[id] ?? 0) + 1 }),
      }),
    },
  }).createMachine({ context: { begun: {} }, on: { BEGUN: { actions: "count" } } }),
});

/** What a node of release 1 or 2 runs. */
export const kindsOf = (release: number) => [
  release === 1 ? counter : laterCounter,
  account,
  job,
  alarm,
  board,
  crewKind,
  hand,
  starter,
  tally,
];
