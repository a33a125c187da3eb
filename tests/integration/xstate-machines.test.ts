/**
 * The kinds of machines of XState's documentation as durable actors. Invariant: each is killed half way, taken over by a new
 * incarnation, and ends as an XState actor that nobody killed.
 */
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  and,
  type AnyStateMachine,
  assign,
  cancel,
  createActor,
  emit,
  enqueueActions,
  type EventObject,
  fromPromise,
  not,
  raise,
  sendTo,
  setup,
  SimulatedClock,
  stateIn,
} from "xstate";
import { ref, reply } from "../../runtime/author.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { onAbort, startCluster, type TestCluster, until } from "../support/cluster.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

type Event = EventObject & { readonly [key: string]: unknown };
/** `ms`: the time until `until` is the state. */
type Step = { readonly send: Event } | { readonly ms: number; readonly until: unknown } | "crash";
const CRASH = "crash";

interface Outcome {
  readonly status: string;
  readonly value: unknown;
  readonly context: unknown;
  readonly output: unknown;
}

interface Case {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly script: readonly Step[];
}

const outcomeOf = (view: { status: string; value: unknown; context: unknown; output?: unknown }): Outcome => ({
  status: view.status,
  value: view.value,
  context: view.context,
  output: view.output,
});

/** An actor of plain XState, on simulated time. Promises are real: they are awaited by the state that follows. */
async function runPlain({ machine, script }: Case): Promise<Outcome> {
  const clock = new SimulatedClock();
  const actor = createActor(machine, { clock, input: { kind: "plain", id: "a" } });
  actor.start();
  for (const step of script) {
    if (step === CRASH) continue;
    if ("send" in step) actor.send(step.send as never);
    else {
      clock.increment(step.ms);
      await until(`plain ${JSON.stringify(step.until)}`, () =>
        isDeepStrictEqual(actor.getSnapshot().value, step.until),
      );
    }
  }
  return outcomeOf(actor.getSnapshot());
}

const server: { current: TestServer } = { current: undefined as never };

beforeAll(async () => {
  server.current = await startTestServer();
});
afterAll(() => server.current.stop());

const light = setup({
  delays: { slow: 250 },
  types: { context: {} as { changes: number } },
  actions: { count: assign({ changes: ({ context }: { context: { changes: number } }) => context.changes + 1 }) },
}).createMachine({
  context: { changes: 0 },
  initial: "off",
  states: {
    off: { on: { START: "red" } },
    red: { exit: "count", after: { slow: "green" } },
    green: { exit: "count", after: { 120: "yellow" } },
    yellow: { exit: "count", after: { 80: "blinking" } },
    blinking: { on: { START: "red" } },
  },
});

const parallel = setup({ types: { context: {} as { log: string[] } } }).createMachine({
  context: { log: [] },
  type: "parallel",
  states: {
    bold: { initial: "off", states: { off: { on: { BOLD: "on" } }, on: { on: { BOLD: "off" } } } },
    list: {
      initial: "none",
      states: {
        none: { on: { LIST: "bullets" } },
        bullets: { on: { LIST: "numbers", NONE: "none" } },
        numbers: { on: { NONE: "none" } },
      },
    },
  },
  on: { NOTE: { actions: assign({ log: ({ context, event }) => [...context.log, String(event["text"])] }) } },
});

/** What a player remembers of where it was, one level deep or to the bottom. */
const player = (history: "shallow" | "deep") =>
  setup({}).createMachine({
    initial: "playing",
    states: {
      playing: {
        initial: "album",
        states: {
          album: {
            initial: "first",
            states: { first: { on: { NEXT: "second" } }, second: { on: { NEXT: "first" } } },
            on: { RADIO: "radio" },
          },
          radio: {
            initial: "low",
            states: { low: { on: { UP: "high" } }, high: {} },
          },
          past: { type: "history", history },
        },
        on: { STOP: "stopped" },
      },
      stopped: { on: { PLAY: "playing.past" } },
    },
  });

const PLAYER_SCRIPT: Step[] = [
  { send: { type: "RADIO" } },
  { send: { type: "UP" } },
  { send: { type: "STOP" } },
  CRASH,
  { send: { type: "PLAY" } },
];

const order = setup({
  types: { context: {} as { total: number }, output: {} as { total: number; by: string } },
}).createMachine({
  context: { total: 0 },
  initial: "open",
  states: {
    open: {
      on: {
        ADD: { actions: assign({ total: ({ context, event }) => context.total + Number(event["price"]) }) },
        PAY: "paid",
      },
    },
    paid: { type: "final", output: ({ event }: { event: Event }) => ({ by: event["by"] }) },
  },
  output: ({ context, event }) => ({
    total: context.total,
    by: String((event as unknown as { output: { by: unknown } }).output.by),
  }),
});

const grade = setup({
  types: { context: {} as { points: number }, events: {} as Event },
  actions: { earn: assign({ points: ({ context, event }) => context.points + Number(event["by"]) }) },
  guards: {
    isGood: ({ context }) => context.points >= 90,
    isFair: ({ context }) => context.points >= 50,
  },
}).createMachine({
  context: { points: 40 },
  initial: "judging",
  states: {
    judging: {
      always: [{ guard: "isGood", target: "good" }, { guard: "isFair", target: "fair" }, { target: "poor" }],
    },
    poor: { on: { EARN: { target: "judging", actions: "earn" } } },
    fair: { on: { EARN: { target: "judging", actions: "earn" } } },
    good: { type: "final" },
  },
});

const gate = setup({
  types: { context: {} as { coins: number; refused: number } },
  guards: {
    isPaid: ({ context }) => context.coins >= 2,
    isLocked: stateIn({ lock: "locked" }),
    mayOpen: and(["isPaid", not("isLocked")]),
  },
}).createMachine({
  context: { coins: 0, refused: 0 },
  type: "parallel",
  states: {
    lock: { initial: "locked", states: { locked: { on: { KEY: "unlocked" } }, unlocked: { on: { KEY: "locked" } } } },
    door: {
      initial: "shut",
      states: {
        shut: {
          on: {
            COIN: { actions: assign({ coins: ({ context }) => context.coins + 1 }) },
            PUSH: [
              { guard: "mayOpen", target: "open" },
              { actions: assign({ refused: ({ context }) => context.refused + 1 }) },
            ],
          },
        },
        open: {},
      },
    },
  },
});

const raiser = setup({ types: { context: {} as { log: string[] } } }).createMachine({
  context: { log: [] },
  initial: "a",
  states: {
    a: { on: { GO: { target: "b", actions: [raise({ type: "INNER" }), raise({ type: "LATER" }, { delay: 150 })] } } },
    b: { on: { INNER: { target: "c", actions: assign({ log: ({ context }) => [...context.log, "inner"] }) } } },
    c: { on: { LATER: { target: "d", actions: assign({ log: ({ context }) => [...context.log, "later"] }) } } },
    d: {},
  },
});

const bomb = setup({ types: { context: {} as { armed: number } } }).createMachine({
  context: { armed: 0 },
  initial: "idle",
  states: {
    idle: {
      on: {
        ARM: {
          target: "armed",
          actions: [raise({ type: "BOOM" }, { delay: 200, id: "fuse" }), raise({ type: "SAFE" }, { delay: 300 })],
        },
      },
    },
    armed: {
      entry: assign({ armed: ({ context }) => context.armed + 1 }),
      on: { BOOM: "exploded", DEFUSE: { actions: cancel("fuse") }, SAFE: "safe" },
    },
    exploded: {},
    safe: {},
  },
});

const visits = setup({ types: { context: {} as { log: string[] } } }).createMachine({
  context: { log: [] },
  entry: assign({ log: ["root in"] }),
  initial: "a",
  states: {
    a: {
      entry: assign({ log: ({ context }) => [...context.log, "a in"] }),
      exit: assign({ log: ({ context }) => [...context.log, "a out"] }),
      initial: "x",
      on: {
        STAY: { target: ".y", actions: assign({ log: ({ context }) => [...context.log, "stay"] }) },
        AGAIN: { target: "a", reenter: true, actions: assign({ log: ({ context }) => [...context.log, "again"] }) },
        NEXT: "b",
      },
      states: {
        x: { entry: assign({ log: ({ context }) => [...context.log, "x in"] }) },
        y: { exit: assign({ log: ({ context }) => [...context.log, "y out"] }) },
      },
    },
    b: { entry: assign({ log: ({ context }) => [...context.log, "b in"] }) },
  },
});

const queue = setup({ types: { context: {} as { n: number; seen: string[] } } }).createMachine({
  context: { n: 0, seen: [] },
  initial: "open",
  states: {
    open: {
      on: {
        ADD: {
          actions: enqueueActions(({ context, event, enqueue, check }) => {
            enqueue.assign({ n: context.n + Number(event["by"]) });
            if (check(() => context.n > 3)) enqueue.raise({ type: "FULL" });
            enqueue.raise({ type: "TICK" }, { delay: 100, id: "tick" });
          }),
        },
        FULL: "full",
        TICK: { actions: assign({ n: ({ context }) => context.n + 100 }), target: "ticked" },
        "job.*": { actions: assign({ seen: ({ context, event }) => [...context.seen, event.type] }) },
        "*": { actions: assign({ seen: ({ context, event }) => [...context.seen, `any ${event.type}`] }) },
      },
    },
    full: {},
    ticked: {},
  },
});

const CASES: Case[] = [
  {
    name: "a traffic light with after",
    machine: light,
    script: [
      { send: { type: "START" } },
      CRASH,
      { ms: 250, until: "green" },
      { ms: 120, until: "yellow" },
      CRASH,
      { ms: 80, until: "blinking" },
    ],
  },
  {
    name: "parallel states",
    machine: parallel,
    script: [
      { send: { type: "BOLD" } },
      { send: { type: "LIST" } },
      { send: { type: "NOTE", text: "one" } },
      CRASH,
      { send: { type: "LIST" } },
      { send: { type: "NOTE", text: "two" } },
      { send: { type: "BOLD" } },
      { send: { type: "BOLD" } },
    ],
  },
  { name: "shallow history", machine: player("shallow"), script: PLAYER_SCRIPT },
  { name: "deep history", machine: player("deep"), script: PLAYER_SCRIPT },
  {
    name: "a final state with output",
    machine: order,
    script: [
      { send: { type: "ADD", price: 5 } },
      CRASH,
      { send: { type: "ADD", price: 7 } },
      { send: { type: "PAY", by: "ada" } },
      CRASH,
    ],
  },
  {
    name: "always with guards",
    machine: grade,
    script: [{ send: { type: "EARN", by: 20 } }, CRASH, { send: { type: "EARN", by: 40 } }],
  },
  {
    name: "guards and, not, stateIn",
    machine: gate,
    script: [
      { send: { type: "COIN" } },
      { send: { type: "COIN" } },
      { send: { type: "PUSH" } },
      CRASH,
      { send: { type: "PUSH" } },
      { send: { type: "KEY" } },
      { send: { type: "PUSH" } },
    ],
  },
  {
    name: "raise, at once and delayed",
    machine: raiser,
    script: [{ send: { type: "GO" } }, CRASH, { ms: 150, until: "d" }],
  },
  {
    name: "a delayed raise and its cancel",
    machine: bomb,
    script: [{ send: { type: "ARM" } }, CRASH, { send: { type: "DEFUSE" } }, CRASH, { ms: 300, until: "safe" }],
  },
  {
    name: "entry, exit and reenter",
    machine: visits,
    script: [
      { send: { type: "STAY" } },
      { send: { type: "AGAIN" } },
      CRASH,
      { send: { type: "STAY" } },
      { send: { type: "NEXT" } },
    ],
  },
  {
    name: "enqueueActions and a timer of it",
    machine: queue,
    script: [{ send: { type: "ADD", by: 1 } }, { send: { type: "ADD", by: 2 } }, CRASH, { ms: 100, until: "ticked" }],
  },
  {
    name: "enqueueActions that raise",
    machine: queue,
    script: [{ send: { type: "ADD", by: 4 } }, CRASH, { send: { type: "ADD", by: 1 } }],
  },
  {
    name: "wildcard events",
    machine: queue,
    script: [{ send: { type: "job.done.well" } }, { send: { type: "what" } }, CRASH, { send: { type: "job.x" } }],
  },
];

describe("a machine that is killed half way", () => {
  let cluster: TestCluster;
  const kinds = CASES.map((each, index) => defineActor({ kind: `case-${index}`, machine: each.machine }));
  beforeAll(async () => {
    cluster = await startCluster({ server: server.current, kinds });
  });
  afterAll(() => cluster.stop());

  test.each(CASES.map((each, index) => ({ ...each, index })))("$name: ends as if it had not been", async (each) => {
    const kind = `case-${each.index}`;
    for (const step of each.script) {
      if (step === CRASH) await cluster.restart();
      else if ("send" in step) await cluster.client.tell(kind, "a", step.send);
      else
        await until(`${each.name} ${JSON.stringify(step.until)}`, async () =>
          isDeepStrictEqual((await cluster.client.query(kind, "a")).value, step.until),
        );
    }
    expect(outcomeOf(await cluster.client.query(kind, "a"))).toEqual(await runPlain(each));
  });
});

describe("a machine that works with others", () => {
  test("fetch with invoke and retry restarts what ran, under the same key, and retries what failed", async () => {
    const runs: string[] = [];
    const load = fromPromise<string, { url: string; attempt: number }>(async ({ input, signal, self }) => {
      runs.push(self.sessionId);
      if (input.attempt === 1) throw new TypeError(`No route to ${input.url}`);
      if (input.attempt === 2 && runs.length === 2) await onAbort(signal); // until the crash
      return `page of ${input.url}`;
    });
    const machine = setup({
      actors: { load },
      types: {
        context: {} as { url: string; attempt: number; page?: string; errors: string[] },
        events: {} as { type: "GET"; url: string } | { type: "RETRY" },
      },
    }).createMachine({
      context: { url: "", attempt: 0, errors: [] },
      initial: "idle",
      states: {
        idle: { on: { GET: { target: "loading", actions: assign({ url: ({ event }) => event.url }) } } },
        loading: {
          entry: assign({ attempt: ({ context }) => context.attempt + 1 }),
          invoke: {
            src: "load",
            input: ({ context }) => ({ url: context.url, attempt: context.attempt }),
            onDone: { target: "loaded", actions: assign({ page: ({ event }) => event.output }) },
            onError: {
              target: "failed",
              actions: assign({
                errors: ({ context, event }) => [...context.errors, (event.error as Error).message],
              }),
            },
          },
        },
        failed: { after: { 50: "loading" } },
        loaded: { type: "final" },
      },
    });
    const cluster = await startCluster({ server: server.current, kinds: [defineActor({ kind: "fetch", machine })] });
    try {
      await cluster.client.tell("fetch", "a", { type: "GET", url: "x" } as never);
      await until("the second attempt runs", () => runs.length === 2);
      await cluster.restart();
      const view = await until("loaded", async () => {
        const now = await cluster.client.query("fetch", "a");
        return now.value === "loaded" && now;
      });
      expect(view).toMatchObject({
        status: "done",
        context: { url: "x", attempt: 2, page: "page of x", errors: ["No route to x"] },
      });
      expect(runs).toHaveLength(3);
      expect(runs[2]).toBe(runs[1]); // the idempotency key of a repeated run
      expect(runs[0]).not.toBe(runs[1]);
    } finally {
      await cluster.stop();
    }
  });

  test("sendTo() reaches the other actor once and in order, delayed or not, when both are killed between", async () => {
    const account = setup({
      types: { context: {} as { got: number[] }, events: {} as { type: "PUT"; n: number } },
    }).createMachine({
      context: { got: [] },
      on: { PUT: { actions: assign({ got: ({ context, event }) => [...context.got, event.n] }) } },
    });
    const sender = setup({
      types: {
        context: {} as { n: number },
        events: {} as { type: "SEND" } | { type: "LATE" } | { type: "ME" } | { type: "SELF" },
      },
    }).createMachine({
      context: { n: 0 },
      on: {
        SEND: {
          actions: [
            assign({ n: ({ context }) => context.n + 1 }),
            sendTo(
              () => ref("account", "z"),
              ({ context }) => ({ type: "PUT", n: context.n }),
            ),
          ],
        },
        LATE: {
          actions: [
            sendTo(() => ref("account", "z"), { type: "PUT", n: 100 }, { delay: 200, id: "late" }),
            sendTo(() => ref("account", "z"), { type: "PUT", n: 200 }, { delay: 150, id: "never" }),
            cancel("never"),
          ],
        },
        SELF: { actions: [assign({ n: 50 }), reply(({ context }) => context.n)] },
        ME: { actions: sendTo(({ self }) => self, { type: "SELF" }) },
      },
    });
    const kinds = [
      defineActor({ kind: "account", machine: account }),
      defineActor({ kind: "sender", machine: sender }),
    ];
    const cluster = await startCluster({ server: server.current, kinds });
    const got = async () => ((await cluster.client.query("account", "z")).context as { got: number[] }).got;
    try {
      await Promise.all([1, 2, 3].map(() => cluster.client.tell("sender", "s", { type: "SEND" })));
      await cluster.client.tell("sender", "s", { type: "LATE" });
      await cluster.restart();
      await cluster.client.tell("sender", "s", { type: "SEND" });
      await until("all arrived", async () => (await got()).length === 5);
      await cluster.restart();
      expect(await got()).toEqual([1, 2, 3, 4, 100]);
      await cluster.client.tell("sender", "s", { type: "ME" });
      await until(
        "own message",
        async () => ((await cluster.client.query("sender", "s")).context as { n: number }).n === 50,
      );
    } finally {
      await cluster.stop();
    }
  });

  test("emit() is seen on the status subject after the commit, by the second owner too", async () => {
    const machine = setup({ types: { emitted: {} as { type: "rang"; n: number } } }).createMachine({
      on: { RING: { actions: emit(({ event }) => ({ type: "rang", n: Number((event as Event)["n"]) })) } },
    });
    const cluster = await startCluster({ server: server.current, kinds: [defineActor({ kind: "bell", machine })] });
    const { broker, names } = cluster.client;
    const heard: unknown[] = [];
    broker.subscribe(names.status("bell", "a"), (message) =>
      heard.push(JSON.parse(Buffer.from(message.data).toString())),
    );
    await broker.flush();
    try {
      await cluster.client.tell("bell", "a", { type: "RING", n: 1 } as never);
      await until("the first", () => heard.length === 1);
      await cluster.restart();
      await cluster.client.tell("bell", "a", { type: "RING", n: 2 } as never);
      await until("the second", () => heard.length === 2);
      expect(heard).toEqual(
        [1, 2].map((n) => ({ type: "emitted", kind: "bell", id: "a", event: { type: "rang", n } })),
      );
    } finally {
      await cluster.stop();
    }
  });
});
