import { describe, expect, test } from "vitest";
import { crewKind } from "../../actors/crew.ts";
import { CREW_BYTES } from "../../actors/crew-work.ts";
import type { CrewContext } from "../../actors/crew-state.ts";
import { ENDED_LIMIT } from "../../actors/crew-state.ts";
import type { Balance, Capability, CrewPlan, Need } from "../../actors/messages/crew.ts";
import { DrivenActor } from "../support/machine.ts";

const SCAN: Capability = { name: "scan", version: "1.4.0" };

interface Given {
  readonly id: string;
  readonly data?: unknown;
  readonly needs?: readonly Need[];
  readonly priority?: string;
  readonly deadlineMs?: number;
  readonly key?: string;
}

/** A crew driven by hand, with workers that do what the test says. */
class Bench {
  readonly actor = new DrivenActor(crewKind, "night");

  constructor(plan: Partial<CrewPlan> = {}, enlisted = plan.min ?? 0) {
    this.actor.send({ type: "declare", plan: { worker: "hand", min: 1, max: 4, ...plan } });
    for (let n = 0; n < enlisted; n++) this.enlist(n);
  }

  get context(): CrewContext {
    return this.actor.context as CrewContext;
  }

  enlist(n: number | string, capabilities: readonly Capability[] = [SCAN], slots = 1): this {
    this.actor.send({ type: "enlist", capabilities, slots }, typeof n === "string" ? n : `hand/night:${n}`);
    return this;
  }

  submit(work: Given, from = "task/a"): unknown {
    return this.actor.send({ type: "submit", work: { data: {}, ...work } }, from).answer;
  }

  end(work: string, worker: number | string, state = "done", result: unknown = 1): this {
    const from = typeof worker === "string" ? worker : `hand/night:${worker}`;
    this.actor.send({ type: "work.ended", work, state, result, reason: null }, from);
    return this;
  }

  /** Who was given what, in order. */
  get given(): string[] {
    return this.actor.sent.flatMap(({ to, event }) =>
      event.type === "work" ? [`${(event["work"] as Given).id}>${to.replace("hand/night:", "")}`] : [],
    );
  }

  /** What askers were told, in order. */
  get told(): string[] {
    return this.actor.sent.flatMap(({ to, event }) =>
      event.type === "work.ended" && !to.startsWith("hand/")
        ? [`${to} ${String(event["work"])} ${String(event["state"])}`]
        : [],
    );
  }

  get reasons(): string[] {
    return this.actor.sent.flatMap(({ event }) => (event.type === "work.ended" ? [String(event["reason"])] : []));
  }
}

describe("crew, by state and event", () => {
  const EVENTS: Readonly<Record<string, { readonly type: string; readonly [key: string]: unknown }>> = {
    declare: { type: "declare", plan: { worker: "hand", min: 0 } },
    badPlan: { type: "declare", plan: { worker: "hand", min: 9, max: 2 } },
    submit: { type: "submit", work: { id: "w", data: 1 } },
    badWork: { type: "submit", work: { id: "w" } },
    enlist: { type: "enlist", capabilities: [], slots: 1 },
    leave: { type: "leave" },
    ended: { type: "work.ended", work: "w", state: "done", result: 1, reason: null },
    failed: { type: "actor.failed", kind: "task", id: "a", reason: "poison" },
    tick: { type: "tick" },
    retire: { type: "retire" },
  };
  const TABLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    undeclared: { declare: "serving", submit: "NO_CREW", badPlan: "BAD_REQUEST" },
    serving: {
      declare: "serving",
      badPlan: "BAD_REQUEST",
      submit: "queued",
      badWork: "BAD_REQUEST",
      enlist: "serving",
      leave: "serving",
      ended: "serving",
      failed: "serving",
      tick: "serving",
      retire: "retired",
    },
    retired: { declare: "serving", submit: "NO_CREW", badPlan: "BAD_REQUEST" },
  };
  const arrive: Readonly<Record<string, (actor: DrivenActor) => void>> = {
    undeclared: (actor) => actor.send({ type: "retire" }), // known, and ignored here
    serving: (actor) => actor.send(EVENTS["declare"] as never),
    retired: (actor) => actor.send(EVENTS["declare"] as never).send({ type: "retire" }),
  };
  const rows = Object.entries(TABLE).flatMap(([state, row]) =>
    Object.keys(EVENTS).map((event) => [state, event, row[event] ?? state] as const),
  );
  test.each(rows)("%s × %s gives %s", (state, event, wanted) => {
    const actor = new DrivenActor(crewKind, "night");
    arrive[state]?.(actor);
    expect(actor.value).toBe(state);
    actor.send(EVENTS[event] as never, "task/a");
    const { code, state: answered } = actor.answer as { readonly code?: string; readonly state?: string };
    expect([actor.value, code, answered]).toContain(wanted);
    if (code !== undefined) expect(actor.value).toBe(state);
  });
});

describe("crew", () => {
  test("hires its min, gives them work only after they have enlisted, and tells the asker the end once", () => {
    const bench = new Bench({ min: 2 }, 0);
    expect(bench.actor.sent).toEqual(
      [0, 1].map((n) => ({ to: `hand/night:${n}`, event: { type: "hire", crew: "night" } })),
    );
    expect(bench.submit({ id: "a" })).toEqual({ ok: true, work: "a", state: "queued" });
    expect(bench.given).toEqual([]);
    bench.enlist(1);
    expect(bench.given).toEqual(["a>1"]);
    bench.end("a", 1).end("a", 1);
    expect(bench.told).toEqual(["task/a a done"]);
    expect(bench.context).toMatchObject({ queue: [], running: [], bytes: 0, counts: { accepted: 1, done: 1 } });
  });

  test("asks one of those it hired again, and hires no more, until the first has come: perhaps nobody hosts their kind", () => {
    const bench = new Bench({ min: 3, max: 9, backlogPerWorker: 0 }, 0);
    for (const id of ["a", "b", "c", "d", "e"]) bench.submit({ id });
    bench.actor.advance(3_600_000);
    const asked = (n: number) => bench.actor.sentTo(`hand/night:${n}`).length;
    expect(asked(0)).toBeGreaterThan(2);
    expect([asked(1), asked(2), bench.context.members.length]).toEqual([1, 1, 3]);
    bench.enlist(0);
    bench.actor.advance(1_000);
    expect([asked(1), asked(2)]).toEqual([2, 2]);
  });

  test.each([false, true])(
    "asks one within 30 s, however long nobody hosted them; some had come before: %s",
    (hadCome) => {
      const bench = new Bench({ min: 2, max: 9, backlogPerWorker: 0 }, hadCome ? 2 : 0);
      for (const n of hadCome ? [0, 1] : []) {
        const name = { kind: "hand", id: `night:${n}` };
        bench.actor.send({ type: "actor.failed", ...name, reason: "lost" }, `hand/${name.id}`);
      }
      for (const id of ["a", "b", "c", "d", "e"]) bench.submit({ id });
      bench.actor.advance(3_500_000).clear().advance(30_000);
      expect(bench.actor.sent.map(({ event }) => event.type)).toEqual(["hire"]);
      expect(bench.context.members).toHaveLength(2);
    },
  );

  test("publishes the end of what a client asked for", () => {
    const bench = new Bench({ min: 1 });
    bench.submit({ id: "a" }, "client-1");
    bench.end("a", 0, "failed");
    expect(bench.actor.published).toMatchObject([
      { pool: "shared.results", event: { type: "work.ended", data: { work: "a", state: "failed", crew: "night" } } },
    ]);
  });

  test("does work of one id once for its asker, and refuses the id to another", () => {
    const bench = new Bench({ min: 1 });
    bench.submit({ id: "a" });
    expect(bench.submit({ id: "a" })).toMatchObject({ ok: true, state: "assigned" });
    expect(bench.submit({ id: "a" }, "task/b")).toMatchObject({ ok: false, code: "ID_TAKEN" });
    bench.end("a", 0);
    expect(bench.submit({ id: "a" })).toMatchObject({ ok: true, state: "known" });
    expect(bench.given).toEqual(["a>0"]);
    expect(bench.told).toEqual(["task/b a refused", "task/a a done"]);
    for (let i = 0; i < ENDED_LIMIT; i++) {
      bench.submit({ id: `x${i}` });
      bench.end(`x${i}`, 0);
    }
    expect(bench.submit({ id: "a" })).toMatchObject({ state: "assigned" }); // forgotten: new work
  });

  test("lets urgent work go first, else the one that came first", () => {
    const bench = new Bench({ min: 1, max: 1 });
    for (const [id, priority] of [
      ["run", "low"],
      ["b", "normal"],
      ["c", "low"],
      ["d", "critical"],
      ["e", "normal"],
    ] as const) {
      bench.submit({ id, priority });
    }
    for (const id of ["run", "d", "b", "e", "c"]) bench.end(id, 0);
    expect(bench.given).toEqual(["run>0", "d>0", "b>0", "e>0", "c>0"]);
  });

  test("refuses with QUEUE_FULL by number and by bytes, and then accepts nothing of it", () => {
    const bench = new Bench({ min: 1, max: 1, queueLimit: 2 });
    for (const id of ["a", "b", "c"]) expect(bench.submit({ id })).toMatchObject({ ok: true });
    expect(bench.submit({ id: "d" })).toMatchObject({ ok: false, code: "QUEUE_FULL" });
    expect(bench.told).toEqual(["task/a d refused"]);
    const large = new Bench({ min: 1, max: 1 });
    const data = "x".repeat(CREW_BYTES / 8);
    const answers = Array.from({ length: 9 }, (_, i) => large.submit({ id: `l${i}`, data }));
    expect(answers.at(-1)).toMatchObject({ ok: false, code: "QUEUE_FULL" });
    expect(large.context.counts.accepted).toBeLessThan(9);
  });

  test("never starts work past its deadline and says why", () => {
    const bench = new Bench({ min: 1, max: 1, attemptMs: 60_000 });
    bench.submit({ id: "run" });
    bench.submit({ id: "late", deadlineMs: 1_000 });
    bench.actor.advance(999);
    expect(bench.told).toEqual([]);
    bench.actor.advance(100);
    expect(bench.told).toEqual(["task/a late expired"]);
    expect(bench.reasons.at(-1)).toContain("Its deadline passed before it started: no worker was free");
    bench.end("run", 0);
    expect(bench.given).toEqual(["run>0"]);
  });

  test("never starts late work although its clock has not struck yet", () => {
    const bench = new Bench({ min: 1, max: 1 });
    bench.submit({ id: "run" });
    bench.submit({ id: "late", deadlineMs: 1_000 });
    bench.actor.timeMs += 1_001; // no timer fired: an outage
    bench.end("run", 0);
    expect(bench.given).toEqual(["run>0"]);
    expect(bench.told).toEqual(["task/a run done", "task/a late expired"]);
  });
});

describe("crew, a worker that is lost", () => {
  test("one that does not answer in time: its work goes to another under the same id, the first answer counts", () => {
    const bench = new Bench({ min: 2, max: 2, attemptMs: 1_000, attempts: 3 });
    bench.submit({ id: "a" });
    bench.actor.advance(1_050);
    expect(bench.given).toEqual(["a>0", "a>1"]);
    expect(bench.actor.sentTo("hand/night:0")).toEqual(["hire", "work", "stop"]);
    expect(bench.actor.sentTo("hand/night:2")).toEqual(["hire"]); // another in its place, at an address of its own
    bench.end("a", 0); // it was only slow
    bench.end("a", 1);
    expect(bench.told).toEqual(["task/a a done"]);
    expect(bench.actor.sentTo("hand/night:1")).toContain("stop");
    expect(bench.context.counts).toMatchObject({ lostWorkers: 1, done: 1 });
  });

  test("the attempts are used up: unknown, since it may have been done", () => {
    const bench = new Bench({ min: 1, max: 1, attemptMs: 1_000, attempts: 2 });
    bench.submit({ id: "a" });
    bench.actor.advance(1_050);
    bench.enlist(1);
    bench.actor.advance(1_050);
    expect(bench.given).toEqual(["a>0", "a>1"]);
    expect(bench.told).toEqual(["task/a a unknown"]);
    expect(bench.reasons.at(-1)).toContain('the last: "hand/night:1" gave no answer in time');
  });

  test("one that supervision stopped goes at once; nobody else can say so of it", () => {
    const bench = new Bench({ min: 2, max: 2 });
    bench.submit({ id: "a" });
    const failed = { type: "actor.failed", kind: "hand", id: "night:0", reason: "poison" };
    bench.actor.send(failed, "hand/night:1");
    expect(bench.given).toEqual(["a>0"]);
    bench.actor.send(failed, "hand/night:0");
    expect(bench.given).toEqual(["a>0", "a>1"]);
    expect(bench.context.members.map(({ name }) => name)).toEqual(["hand/night:1", "hand/night:2"]);
  });

  test("who never had the work cannot end it", () => {
    const bench = new Bench({ min: 2, max: 2 });
    bench.submit({ id: "a" });
    bench.end("a", 1).end("a", "task/x");
    expect(bench.told).toEqual([]);
  });

  test("one that was hired and does not come is asked again, ever more rarely", () => {
    const bench = new Bench({ min: 1, max: 1 }, 0);
    bench.actor.advance(60_000);
    expect(bench.actor.sentTo("hand/night:0")).toHaveLength(5); // at 0, 5, 10, 20, 40 s
  });
});

describe("crew, assignment", () => {
  test("IMMEDIATE refuses what finds no free worker, and queues nothing", () => {
    const bench = new Bench({ min: 1, max: 1, assignment: "IMMEDIATE" });
    expect(bench.submit({ id: "a" })).toMatchObject({ ok: true, state: "assigned" });
    expect(bench.submit({ id: "b" })).toMatchObject({ ok: false, code: "NO_FREE_WORKER" });
    expect(bench.submit({ id: "c", needs: [{ name: "fly" }] })).toMatchObject({ ok: false, code: "NO_FIT" });
    expect(bench.told).toEqual(["task/a b refused", "task/a c refused"]);
    expect(bench.context.queue).toEqual([]);
  });

  test("DELEGATED passes it on under the same id and hands the answer back", () => {
    const bench = new Bench({ min: 1, max: 1, assignment: "DELEGATED", delegateTo: "crew/day", deadlineMs: 5_000 });
    bench.submit({ id: "a" });
    expect(bench.submit({ id: "b", data: { n: 1 } })).toMatchObject({ ok: true, state: "delegated" });
    expect(bench.actor.sent.at(-1)).toEqual({
      to: "crew/day",
      event: {
        type: "submit",
        work: { id: "b", data: { n: 1 }, needs: [], priority: "normal", deadlineMs: 5_000, via: ["crew/night"] },
      },
    });
    bench.end("b", "crew/day", "refused");
    expect(bench.told).toEqual(["task/a b refused"]);
  });

  test("DELEGATED ends unknown if the other never answers, and refuses what came back in a circle", () => {
    const bench = new Bench({
      min: 1,
      max: 1,
      assignment: "DELEGATED",
      delegateTo: "crew/day",
      deadlineMs: 1_000,
      attemptMs: 500,
      attempts: 2,
    });
    bench.submit({ id: "a" });
    bench.submit({ id: "b" });
    const back = { id: "c", data: 1, via: ["crew/night", "crew/day"] };
    expect(bench.actor.send({ type: "submit", work: back }, "crew/day").answer).toMatchObject({
      code: "DELEGATION_CYCLE",
    });
    bench.actor.advance(10_000);
    expect(bench.told).toContain("task/a b unknown");
  });

  test("CONSOLIDATED does equal work of a window once and answers all, each within its own deadline", () => {
    const bench = new Bench({ min: 1, max: 1, assignment: "CONSOLIDATED", consolidateMs: 10_000 });
    bench.submit({ id: "run" });
    bench.submit({ id: "a", data: { x: 1, y: 2 }, deadlineMs: 1_000 });
    expect(bench.submit({ id: "b", data: { y: 2, x: 1 } }, "task/b")).toMatchObject({ state: "joined" });
    expect(bench.submit({ id: "c", data: { x: 2 } }, "task/c")).toMatchObject({ state: "queued" });
    bench.actor.advance(1_100);
    expect(bench.told).toEqual(["task/a a expired"]);
    bench.end("run", 0);
    expect(bench.submit({ id: "d", data: { x: 1, y: 2 } }, "task/d")).toMatchObject({ state: "joined" });
    bench.end("a", 0, "done", 42);
    expect(bench.submit({ id: "e", data: { x: 1, y: 2 } }, "client-9")).toMatchObject({ state: "joined" });
    expect(bench.given).toEqual(["run>0", "a>0", "c>0"]);
    expect(bench.told).toEqual(["task/a a expired", "task/a run done", "task/b b done", "task/d d done"]);
    expect(bench.actor.published).toMatchObject([{ event: { data: { work: "e", state: "done", result: 42 } } }]);
    bench.actor.advance(10_000);
    expect(bench.context.kept).toEqual([]);
    bench.end("c", 0);
    expect(bench.submit({ id: "f", data: { x: 1, y: 2 } })).toMatchObject({ state: "assigned" });
  });

  test("CONSOLIDATED does equal work anew that comes after the window, though the first is still under way", () => {
    const bench = new Bench({ min: 1, max: 1, assignment: "CONSOLIDATED", consolidateMs: 1_000 });
    bench.submit({ id: "a" });
    bench.actor.advance(1_000);
    expect(bench.submit({ id: "b" })).toMatchObject({ state: "queued" });
  });

  test("CONSOLIDATED joins by the key if one is given, and work of other needs never", () => {
    const bench = new Bench({ min: 1, max: 1, assignment: "CONSOLIDATED" });
    bench.submit({ id: "a", data: 1, key: "k" });
    expect(bench.submit({ id: "b", data: 2, key: "k" })).toMatchObject({ state: "joined" });
    bench.submit({ id: "c", data: 3 });
    expect(bench.submit({ id: "d", data: 3, needs: [{ name: "scan" }] })).toMatchObject({ state: "queued" });
  });
});

describe("crew, who can do what", () => {
  const REEL: Capability = { name: "reel", version: "2.0.0" };

  test("work that nobody can do waits apart with its reason in sight, until one comes who can", () => {
    const bench = new Bench({ min: 1, max: 4, backlogPerWorker: 0, growAfterMs: 100 });
    expect(bench.submit({ id: "a", needs: [{ name: "reel", version: "^2.0.0" }] })).toMatchObject({ state: "unfit" });
    bench.actor.advance(5_000);
    expect(bench.context).toMatchObject({ queue: [], unfit: [{ id: "a" }], decisions: [{ to: 1 }] }); // more of the same would not help
    bench.enlist("probe/p1", [REEL]);
    expect(bench.given).toEqual(["a>probe/p1"]);
    bench.submit({ id: "b", needs: [{ name: "reel", version: "<2.0.0" }], deadlineMs: 500 });
    bench.actor.advance(600);
    expect(bench.reasons.at(-1)).toContain("no worker can do reel@<2.0.0");
  });

  test("REFUSE answers it at once", () => {
    const bench = new Bench({ min: 1, whenUnfit: "REFUSE" });
    expect(bench.submit({ id: "a", needs: [{ name: "reel" }] })).toMatchObject({ ok: false, code: "NO_FIT" });
  });

  test("a worker that leaves gives its work back, and what only it could do is set apart", () => {
    const bench = new Bench({ min: 1, max: 1 });
    bench.enlist("probe/p1", [REEL]);
    bench.submit({ id: "a", needs: [{ name: "reel" }] });
    bench.submit({ id: "b", needs: [{ name: "reel" }] });
    bench.actor.send({ type: "leave" }, "probe/p1");
    expect(bench.context.unfit.map(({ id }) => id)).toEqual(["a", "b"]);
    bench.enlist("probe/p1", [REEL]);
    expect(bench.given).toEqual(["a>probe/p1", "a>probe/p1"]);
  });

  test.each<[Balance, readonly string[]]>([
    ["ROUND_ROBIN", ["a>0", "b>1", "c>2", "d>probe/p1", "e>0"]],
    ["LEAST_BUSY", ["a>0", "b>1", "c>2", "d>probe/p1", "e>0"]],
    ["CAPABILITY_AWARE", ["a>0", "b>1", "c>2", "d>0", "e>1"]],
  ])("%s gives free workers their turn", (balance, wanted) => {
    const bench = new Bench({ min: 3, max: 3, balance }, 0);
    for (const n of [0, 1, 2]) bench.enlist(n, [SCAN], 2);
    bench.enlist("probe/p1", [SCAN, REEL], 2);
    for (const id of ["a", "b", "c", "d", "e"]) bench.submit({ id });
    expect(bench.given).toEqual(wanted);
  });

  test("ROUND_ROBIN goes round whoever is free, LEAST_BUSY to who has least in hand", () => {
    const after = (balance: Balance) => {
      const bench = new Bench({ min: 2, max: 2, balance }, 0);
      for (const n of [0, 1]) bench.enlist(n, [SCAN], 3);
      for (const id of ["a", "b", "c"]) bench.submit({ id });
      bench.end("a", 0).end("c", 0);
      bench.submit({ id: "d" });
      return bench.given.at(-1);
    };
    expect(after("ROUND_ROBIN")).toBe("d>1");
    expect(after("LEAST_BUSY")).toBe("d>0");
  });

  test("RANDOM draws from the message, so that replay draws the same", () => {
    const bench = new Bench({ min: 4, max: 4, balance: "RANDOM" });
    for (let i = 0; i < 40; i++) {
      bench.submit({ id: `r${i}` });
      bench.end(`r${i}`, Number(bench.given.at(-1)?.split(">")[1]));
    }
    expect(new Set(bench.given.map((each) => each.split(">")[1])).size).toBe(4);
  });
});

describe("crew, its size", () => {
  test("grows when too much waits for long enough, and shrinks when one is spare for long enough", () => {
    const plan = {
      min: 1,
      max: 4,
      backlogPerWorker: 2,
      growAfterMs: 1_000,
      shrinkAfterMs: 10_000,
      attemptMs: 86_400_000,
    };
    const bench = new Bench(plan);
    for (let i = 0; i < 8; i++) bench.submit({ id: `w${i}` });
    bench.actor.advance(900);
    expect(bench.context.members).toHaveLength(1);
    bench.actor.advance(200);
    expect(bench.context.members).toHaveLength(2);
    bench.enlist(1);
    bench.actor.advance(1_100);
    expect(bench.context.members).toHaveLength(3); // six wait for two: three would do
    bench.enlist(2);
    for (let i = 0; i < 8; i++) {
      const [run] = bench.context.running;
      if (run !== undefined) bench.end(run.job.id, run.worker);
    }
    bench.actor.advance(9_900);
    expect(bench.context.members).toHaveLength(3);
    bench.actor.advance(10_500);
    expect(bench.context.members.map(({ name }) => name)).toEqual(["hand/night:0"]);
    expect(bench.context.decisions.map(({ from, to }) => [from, to])).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 2],
      [2, 1],
    ]);
  });

  test("IMMEDIATE grows when it keeps refusing", () => {
    const bench = new Bench({ min: 1, max: 2, assignment: "IMMEDIATE", growAfterMs: 1_000 });
    bench.submit({ id: "run" });
    for (let i = 0; i < 12; i++) {
      bench.submit({ id: `r${i}` });
      bench.actor.advance(100);
    }
    expect(bench.context.members).toHaveLength(2);
  });

  test("a new plan moves its bounds; who is busy finishes before going", () => {
    const bench = new Bench({ min: 3, max: 3 });
    for (const id of ["a", "b", "c"]) bench.submit({ id });
    bench.end("b", 1);
    bench.actor.send({ type: "declare", plan: { worker: "hand", min: 1, max: 1 } });
    expect(bench.context.members.map(({ name, isLeaving }) => [name, isLeaving])).toEqual([
      ["hand/night:0", false],
      ["hand/night:2", true],
    ]);
    bench.end("c", 2);
    expect(bench.context.members).toHaveLength(1);
  });

  test("retire refuses what waits, finishes what runs, and leaves nobody", () => {
    const bench = new Bench({ min: 1, max: 1 });
    bench.submit({ id: "a" });
    bench.submit({ id: "b" });
    bench.actor.send({ type: "retire" });
    expect(bench.told).toEqual(["task/a b refused"]);
    bench.end("a", 0);
    expect(bench.told).toEqual(["task/a b refused", "task/a a done"]);
    expect(bench.context).toMatchObject({ members: [], queue: [], running: [], bytes: 0 });
  });
});

describe("crew refuses", () => {
  test.each([
    [{ worker: "hand", min: 3, max: 1 }, "above its max"],
    [{ worker: "Hand!" }, "is not valid"],
    [{ worker: null, min: 1 }, "names no kind to hire"],
    [{ worker: "hand", balance: "FAIR" }, "use ROUND_ROBIN, LEAST_BUSY, RANDOM, CAPABILITY_AWARE"],
    [{ worker: "hand", assignment: "DELEGATED" }, "needs both"],
    [{ worker: "hand", delegateTo: "crew/day" }, "needs both"],
    [{ worker: "hand", deadlineMs: 1 }, "whole number from 100"],
    [{ worker: "hand", queueLimit: 1e9 }, "whole number from 1"],
    [{ worker: "hand", speed: 1 }, 'field "speed" is not known'],
    [null, "not an object"],
  ])("the plan %j", (plan, problem) => {
    const actor = new DrivenActor(crewKind, "night").send({ type: "declare", plan });
    expect(actor.answer).toMatchObject({ ok: false, message: expect.stringContaining(problem) });
    expect(actor.value).toBe("undeclared");
  });

  test.each([
    [null, "not an object"],
    [{ id: "a.b", data: 1 }, "is not valid"],
    [{ id: "a" }, "has no data"],
    [{ id: "a", data: 1, priority: "soon" }, "use critical, high, normal or low"],
    [{ id: "a", data: 1, deadlineMs: 0 }, "whole number above 0"],
    [{ id: "a", data: 1, needs: "scan" }, "not a list"],
    [{ id: "a", data: 1, needs: [{ name: "scan", version: "new" }] }, "with a range"],
    [{ id: "a", data: 1, via: Array.from({ length: 9 }, String) }, "passed on more than"],
  ])("the work %j", (work, problem) => {
    const bench = new Bench({ min: 1 });
    const { answer } = bench.actor.send({ type: "submit", work }, "task/a");
    expect(answer).toMatchObject({ ok: false, code: "BAD_REQUEST", message: expect.stringContaining(problem) });
    expect(bench.context.counts.accepted).toBe(0);
  });

  test.each([
    [{ capabilities: [], slots: 0 }, "slots 0"],
    [{ capabilities: [{ name: "scan", version: "1" }], slots: 1 }, '{"name":"scan","version":"1"}'],
    [{ capabilities: "all", slots: 1 }, "not a list"],
  ])("the worker %j", (event, problem) => {
    const bench = new Bench({ min: 0 });
    const { answer } = bench.actor.send({ type: "enlist", ...event }, "probe/p1");
    expect(answer).toMatchObject({ ok: false, message: expect.stringContaining(problem) });
    expect(bench.actor.send({ type: "enlist", capabilities: [], slots: 1 }, "client-1").answer).toMatchObject({
      ok: false,
    });
    expect(bench.context.members).toEqual([]);
  });

  test("workers whose capabilities take too much room together", () => {
    const bench = new Bench({ min: 0 });
    const many = Array.from({ length: 32 }, (_, i) => ({ name: `${"x".repeat(60)}${i}`, version: "1.0.0" }));
    for (let i = 0; i < 20; i++) bench.enlist(`probe/p${i}`, many);
    expect(bench.actor.answer).toMatchObject({ ok: false, message: expect.stringContaining("fewer or shorter") });
    expect(bench.context.members.length).toBeGreaterThan(5);
    expect(bench.context.members.length).toBeLessThan(20);
  });

  test("data that is too large", () => {
    expect(new Bench().submit({ id: "a", data: "x".repeat(40_000) })).toMatchObject({ ok: false, code: "BAD_REQUEST" });
  });

  test("a result that is too large, as a failure", () => {
    const bench = new Bench({ min: 1 });
    bench.submit({ id: "a" });
    bench.end("a", 0, "done", "x".repeat(20_000));
    expect(bench.told).toEqual(["task/a a failed"]);
    expect(bench.reasons.at(-1)).toContain("store it elsewhere");
  });
});
