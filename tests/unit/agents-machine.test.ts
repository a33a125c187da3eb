/** The agent machine as tables and under random workloads: one task an event, bounded, urgent first. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentMessage, AgentPlan, AgentTrigger } from "../../actors/messages/agent.ts";
import type { LabEvent } from "../../actors/messages/event.ts";
import type { TaskSpec } from "../../actors/messages/task.ts";
import { specProblem } from "../../actors/task-spec.ts";
import { agentKind } from "../../agents/agent.ts";
import {
  type AgentContext,
  QUEUE_BYTES,
  RECENT_LIMIT,
  SEEN_BYTES,
  SEEN_LIMIT,
  type WaitingWork,
} from "../../agents/agent-state.ts";
import type { PoolEvent } from "../../runtime/author.ts";
import { sizeOf } from "../../runtime/codec.ts";
import type { Priority } from "../../runtime/priority.ts";
import { DrivenActor, type Sent, START_MS } from "../support/machine.ts";

interface Outcome {
  readonly sent: readonly Sent[];
  readonly published: readonly { readonly pool: string; readonly event: PoolEvent }[];
  readonly reply: unknown;
}

/** The agent "watcher", one event at a time with what it led to. */
class Driven {
  readonly #actor = new DrivenActor(agentKind, "watcher");

  get state(): unknown {
    return this.#actor.value;
  }
  get context(): AgentContext {
    return this.#actor.context as AgentContext;
  }
  get timers(): Readonly<Record<string, number>> {
    return this.#actor.timers;
  }

  send(event: AgentMessage, sender?: string): Outcome {
    // An end is told by its task, everything else here by the router.
    const from = sender ?? (event.type === "task.finished" ? `task/${event.task}` : "router/shared:alerts");
    const { sent, published, answer } = this.#actor.clear().send({ ...event }, from);
    return { sent: [...sent], published: [...published], reply: answer };
  }

  advance(delayMs: number): readonly Sent[] {
    return [...this.#actor.clear().advance(delayMs).sent];
  }
}

const STEPS = [{ id: "look", skill: "capture_screenshot", with: {}, timeoutMs: 1_000, retries: 0, needsDevice: true }];

const plan = (changes: Partial<AgentPlan> = {}): AgentPlan => ({
  id: "watcher",
  version: "1.0.0",
  name: "Watcher",
  goal: { type: "continuous", description: "" },
  triggers: [{ type: "alert.*" }, { type: "build.deployed" }],
  pools: ["shared.alerts", "shared.builds"],
  maxParallelTasks: 2,
  playbooks: [
    { on: "alert.*", device: "event", steps: STEPS, lockTtlMs: 30_000 },
    { on: "build.deployed", device: null, steps: STEPS, lockTtlMs: 30_000 },
  ],
  ...changes,
});

let made = 0;
const alert = (device: string | null, changes: Partial<LabEvent> = {}): LabEvent => ({
  id: `e${++made}`,
  source: "device/h1/d1",
  type: "alert.blackscreen",
  timeMs: 1,
  priority: "normal",
  data: { status: "active" },
  device: device === null ? null : { host: "h1", device },
  ...changes,
});

const deployed = (changes: Partial<AgentPlan> = {}): Driven => {
  const agent = new Driven();
  agent.send({ type: "deploy", plan: plan(changes) });
  return agent;
};

const starts = (outcome: Outcome): (TaskSpec & { readonly to: string })[] =>
  outcome.sent
    .filter((each) => each.event.type === "start")
    .map((each) => ({ to: each.to, ...(each.event["task"] as TaskSpec) }));
const startedTask = (outcome: Outcome): string => starts(outcome)[0]?.to.replace("task/", "") ?? "";
const finish = (
  task: string,
  state: "succeeded" | "failed" = "succeeded",
  lastLookAtMs: number | null = null,
): AgentMessage => ({ type: "task.finished", task, state, reason: null, trigger: "alert.*", lastLookAtMs });

describe("agentKind", () => {
  test("agent follows its pools when a plan is deployed, and answers", () => {
    const agent = new Driven();
    const outcome = agent.send({ type: "deploy", plan: plan() });
    expect(agent.state).toEqual({ deployed: "idle" });
    expect(outcome.reply).toEqual({ ok: true, agent: "watcher", version: "1.0.0" });
    expect(outcome.sent).toEqual([
      {
        to: "router/shared:alerts",
        event: { type: "subscribe", agent: "watcher", types: ["alert.*", "build.deployed"] },
      },
      {
        to: "router/shared:builds",
        event: { type: "subscribe", agent: "watcher", types: ["alert.*", "build.deployed"] },
      },
    ]);
  });

  test.each([
    ["none", { tree_id: "home" }, null],
    ["tree", { tree_id: "home" }, "tree=home"],
    ["userinterface", { userinterface_name: "horizon" }, "userinterface=horizon"],
    ["tree", {}, "The event names no tree"],
    [undefined, {}, undefined],
  ] as const)("agent has a task lock what its playbook needs: %s of %j", (locks, data, lock) => {
    const playbook = { on: "alert.*", device: "event", steps: STEPS, lockTtlMs: 30_000 } as const;
    const agent = deployed({ playbooks: [locks === undefined ? playbook : { ...playbook, locks }] });
    const [started] = starts(agent.send({ type: "event", event: alert("d1", { data }) }));
    expect(started?.lock).toBe(lock);
  });

  test("agent leaves the pools that a new plan does not follow", () => {
    const outcome = deployed().send({
      type: "deploy",
      plan: plan({ version: "1.1.0", pools: ["shared.builds", "own.watcher"] }),
    });
    expect(outcome.sent.map(({ to, event }) => `${event.type} ${to}`)).toEqual([
      "subscribe router/shared:builds",
      "subscribe router/own:watcher",
      "unsubscribe router/shared:alerts",
    ]);
  });

  test("agent refuses a plan that is for another agent", () => {
    const agent = new Driven();
    const outcome = agent.send({ type: "deploy", plan: plan({ id: "other" }) });
    expect(outcome.reply).toEqual({
      ok: false,
      code: "BAD_REQUEST",
      message: 'The plan is for agent "other", not "watcher": send it there',
    });
    expect(agent.context.plan).toBeNull();
  });

  test("agent refuses any plan or event that is not sound, and stays as it was", () => {
    const agent = deployed();
    const before = JSON.stringify([agent.state, agent.context]);
    const parts = fc.constantFrom("id", "version", "triggers", "pools", "maxParallelTasks", "playbooks");
    const refused = (event: unknown) => {
      const outcome = agent.send(event as AgentMessage); // as it may come from outside
      expect(outcome).toMatchObject({ sent: [], published: [], reply: { ok: false, code: "BAD_REQUEST" } });
      expect(JSON.stringify([agent.state, agent.context])).toBe(before);
    };
    const junk = fc.oneof(
      fc.constant(null),
      fc.string({ maxLength: 3 }),
      fc.integer({ max: 0 }),
      fc.record({ a: fc.nat() }),
    );
    fc.assert(
      fc.property(parts, junk, (part, value) => refused({ type: "deploy", plan: { ...plan(), [part]: value } })),
    );
    fc.assert(fc.property(junk, (value) => refused({ type: "deploy", plan: value })));
    fc.assert(fc.property(junk, (value) => refused({ type: "event", event: value })));
    refused({ type: "deploy", plan: plan({ pools: ["a.>"] }) });
    refused({ type: "deploy", plan: plan({ maxParallelTasks: 101 }) });
    for (const changes of [
      { id: "" },
      { source: 3 },
      { type: null },
      { priority: "urgent" },
      { device: "d1" },
      { device: { host: "h1" } },
    ]) {
      refused({ type: "event", event: { ...alert("d1"), ...changes } });
    }
  });

  test("agent starts a task with the event's device, in a form that the task accepts", () => {
    const agent = deployed();
    const event = alert("d1", { priority: "critical" });
    const outcome = agent.send({ type: "event", event });
    expect(starts(outcome)).toMatchObject([
      {
        agent: "watcher",
        agentVersion: "1.0.0",
        trigger: "alert.*",
        event,
        device: { host: "h1", device: "d1" },
        priority: "critical",
        lockTtlMs: 30_000,
        steps: STEPS,
      },
    ]);
    expect(specProblem(outcome.sent[0]?.event["task"])).toBeNull();
    expect(agent.timers).toEqual({ [`timeout-${startedTask(outcome)}`]: 3_600_000 });
    expect(agent.state).toEqual({ deployed: "running" });
    agent.send(finish(startedTask(outcome)));
    expect(agent.timers).toEqual({});
    expect(agent.state).toEqual({ deployed: "idle" });
    expect(agent.context.recent).toEqual([
      { task: startedTask(outcome), trigger: "alert.*", state: "succeeded", reason: null, endedAtMs: START_MS },
    ]);
  });

  test("agent aborts a task that runs longer than its plan allows", () => {
    const timed = { ...plan(), taskTimeoutMs: 60_000 };
    const agent = new Driven();
    agent.send({ type: "deploy", plan: timed });
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    expect(agent.advance(59_999)).toEqual([]);
    expect(agent.advance(1)).toEqual([{ to: `task/${task}`, event: { type: "abort", reason: "timeout" } }]);
  });

  test("agent starts no second task when an event is delivered twice", () => {
    const agent = deployed();
    const event = alert(null, { type: "build.deployed" });
    agent.send({ type: "event", event });
    const twin = agent.send({ type: "event", event: { ...event, data: "changed" } });
    expect(twin.sent).toEqual([]);
    expect(agent.context.counts).toMatchObject({ events: 2, duplicates: 1, started: 1 });
    // The same id from another source is another event.
    expect(starts(agent.send({ type: "event", event: { ...event, source: "http" } }))).toHaveLength(1);
  });

  test("agent remembers a bounded number of events", () => {
    const agent = deployed({ triggers: [] });
    for (let i = 0; i < SEEN_LIMIT + 10; i++) agent.send({ type: "event", event: alert("d1") });
    expect(agent.context.seen).toHaveLength(SEEN_LIMIT);
    expect(agent.context.counts.ignored).toBe(SEEN_LIMIT + 10);
  });

  test("agent attaches a repeated alert to the one that waits for its device", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    agent.send({ type: "event", event: alert("d1") });
    agent.send({ type: "event", event: alert("d2") });
    agent.send({ type: "event", event: alert("d2", { priority: "critical" }) });
    expect(agent.context.waiting).toMatchObject([{ attached: 1, priority: "critical" }]);
    expect(agent.context.counts).toMatchObject({ events: 3, attached: 1, started: 1 });
  });

  test("agent holds a repeated alert while a task runs for its device, beside free places, and lets others pass", () => {
    const agent = deployed({ maxParallelTasks: 3 });
    agent.send({ type: "event", event: alert("d1") });
    expect(agent.send({ type: "event", event: alert("d1", { priority: "critical" }) }).sent).toEqual([]);
    expect(starts(agent.send({ type: "event", event: alert("d2") }))).toHaveLength(1);
    expect(agent.context.waiting).toHaveLength(1);
  });

  test("agent takes repeated alerts as answered when the task looked at the device after they came", () => {
    const agent = deployed();
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    agent.advance(1_000);
    agent.send({ type: "event", event: alert("d1") });
    agent.advance(1_000);
    agent.send({ type: "event", event: alert("d1") });
    expect(starts(agent.send(finish(task, "succeeded", START_MS + 2_001)))).toEqual([]);
    expect(agent.context).toMatchObject({ running: [], waiting: [], counts: { events: 3, attached: 2, started: 1 } });
  });

  test.each([
    ["looked for the last time as it came", START_MS + 2_000],
    ["looked for the last time before it came", START_MS + 1_999],
    ["never looked", null],
  ])("agent starts a new task for a repeated alert when the one under way %s", (_case, lastLookAtMs) => {
    const agent = deployed();
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    agent.advance(1_000);
    const second = alert("d1");
    agent.send({ type: "event", event: second });
    agent.advance(1_000);
    agent.send({ type: "event", event: alert("d1") });
    expect(starts(agent.send(finish(task, "succeeded", lastLookAtMs)))).toMatchObject([{ event: { id: second.id } }]);
    expect(agent.context).toMatchObject({ waiting: [], counts: { events: 3, attached: 1, started: 2 } });
  });

  test("agent attaches nothing that is no alert, has no device, or is of another trigger", () => {
    const exact: AgentPlan["playbooks"] = ["alert.blackscreen", "alert.freeze", "script.failed"].map((on) => ({
      on,
      device: "event",
      steps: STEPS,
      lockTtlMs: 30_000,
    }));
    const agent = deployed({
      maxParallelTasks: 9,
      playbooks: exact,
      triggers: [{ type: "alert.*" }, { type: "script.*" }],
    });
    const events = [
      alert("d1"),
      alert("d1", { type: "alert.freeze" }),
      alert("d1", { type: "script.failed" }),
      alert("d1", { type: "script.failed" }),
      alert(null),
      alert(null),
    ];
    for (const event of events) agent.send({ type: "event", event });
    expect(agent.context.counts).toMatchObject({ started: events.length, attached: 0 });
  });

  test("agent starts waiting work by priority, then arrival, as places become free", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    let task = startedTask(agent.send({ type: "event", event: alert("d0") }));
    const arrivals: [string, Priority][] = [
      ["d1", "low"],
      ["d2", "normal"],
      ["d3", "critical"],
      ["d4", "normal"],
      ["d5", "critical"],
      ["d6", "high"],
    ];
    for (const [device, priority] of arrivals) agent.send({ type: "event", event: alert(device, { priority }) });
    const order: (string | undefined)[] = [];
    for (let i = 0; i < arrivals.length; i++) {
      const outcome = agent.send(finish(task));
      task = startedTask(outcome);
      order.push(starts(outcome)[0]?.device?.device);
    }
    expect(order).toEqual(["d3", "d5", "d6", "d2", "d4", "d1"]);
  });

  test("agent takes the trigger's priority, except for events that are background", () => {
    const triggers: AgentTrigger[] = [{ type: "alert.*", priority: "critical" }];
    const agent = deployed({ triggers });
    expect(starts(agent.send({ type: "event", event: alert("d1", { priority: "normal" }) }))[0]?.priority).toBe(
      "critical",
    );
    expect(starts(agent.send({ type: "event", event: alert("d2", { priority: "low" }) }))[0]?.priority).toBe("low");
  });

  test("agent drops the least urgent, latest work when too much waits, and says so", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    agent.send({ type: "event", event: alert("running") });
    const large = (priority: Priority) => alert(null, { priority, data: "x".repeat(20_000) });
    const arrivals = Array.from({ length: 9 }, () => large("low"));
    for (const event of arrivals) expect(agent.send({ type: "event", event }).published).toEqual([]);
    const urgent = large("critical");
    expect(agent.send({ type: "event", event: urgent }).published).toMatchObject([
      {
        pool: "shared.agents",
        event: {
          type: "agent.overloaded",
          priority: "high",
          data: { agent: "watcher", dropped: 1, events: [`device/h1/d1/${arrivals[8]?.id}`] },
        },
      },
    ]);
    const late = large("low");
    expect(agent.send({ type: "event", event: late }).published[0]?.event.data).toMatchObject({
      dropped: 1,
      events: [`device/h1/d1/${late.id}`],
    });
    expect(agent.context.waiting.map((work) => work.event.id)).toEqual(
      [...arrivals.slice(0, 8), urgent].map((event) => event.id),
    );
    expect(agent.context.counts.dropped).toBe(2);
  });

  test("agent keeps its state storable however much arrives, and however large", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    agent.send({ type: "event", event: alert("running") });
    for (let i = 0; i < 60; i++)
      agent.send({
        type: "event",
        event: alert(null, {
          source: "s".repeat(256),
          id: `${i}-${"i".repeat(250)}`,
          data: Array.from({ length: 100 * i }, () => 1),
        }),
      });
    const { waiting, seen, counts } = agent.context;
    expect(sizeOf(waiting, "waiting")).toBeLessThanOrEqual(QUEUE_BYTES + 5);
    expect(sizeOf(seen, "seen")).toBeLessThanOrEqual(SEEN_BYTES);
    expect(waiting.length + counts.dropped).toBe(60);
  });

  test("agent gives up what waits when it is retired, lets its tasks end, and can be deployed again", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    agent.send({ type: "event", event: alert("d2") });
    const outcome = agent.send({ type: "retire" });
    expect(agent.state).toBe("retired");
    expect(outcome.sent.map(({ to, event }) => `${event.type} ${to}`)).toEqual([
      "unsubscribe router/shared:alerts",
      "unsubscribe router/shared:builds",
    ]);
    expect(outcome.published).toMatchObject([{ event: { type: "agent.retired", data: { dropped: 1, waiting: 0 } } }]);
    expect(outcome.reply).toEqual({ ok: true, agent: "watcher", running: 1 });
    expect(agent.send({ type: "event", event: alert("d3") }).sent).toEqual([]);
    agent.send(finish(task, "failed"));
    expect(agent.context).toMatchObject({ running: [], counts: { ended: { failed: 1 } } });
    agent.send({ type: "deploy", plan: plan() });
    expect(agent.state).toEqual({ deployed: "idle" });
  });

  test("agent starts what waits under the new plan, and skips what it has no playbook for", () => {
    const agent = deployed({ maxParallelTasks: 1 });
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    agent.send({ type: "event", event: alert("d2") });
    agent.send({ type: "event", event: alert(null, { type: "build.deployed" }) });
    agent.send({
      type: "deploy",
      plan: plan({ version: "2.0.0", maxParallelTasks: 1, playbooks: plan().playbooks.slice(1) }),
    });
    const outcome = agent.send(finish(task));
    expect(starts(outcome)).toMatchObject([{ agentVersion: "2.0.0", trigger: "build.deployed", device: null }]);
    expect(agent.context).toMatchObject({ waiting: [], counts: { ignored: 1 } });
  });

  test("agent remembers a bounded number of ended tasks and ignores the end of a stranger's", () => {
    const agent = deployed();
    for (let i = 0; i < RECENT_LIMIT + 5; i++)
      agent.send(finish(startedTask(agent.send({ type: "event", event: alert(`d${i}`) }))));
    agent.send(finish("stranger"));
    expect(agent.context.recent).toHaveLength(RECENT_LIMIT);
    expect(agent.context.counts.ended.succeeded).toBe(RECENT_LIMIT + 5);
  });

  test.each(["client-1", "task/other", "agent/watcher"])("agent refuses a forged end of its task from %s", (forger) => {
    const agent = deployed();
    const task = startedTask(agent.send({ type: "event", event: alert("d1") }));
    const before = JSON.stringify(agent.context);
    expect(agent.send(finish(task), forger)).toMatchObject({
      sent: [],
      reply: {
        ...{ ok: false, code: "BAD_REQUEST" },
        message: `The end of task "${task}" is told by that task alone: abort the task instead`,
      },
    });
    expect(JSON.stringify(agent.context)).toBe(before);
    expect(agent.send(finish(task)).reply).toMatchObject({ ok: true, running: 0 });
  });

  test("agent keeps its laws under random events and ends", () => {
    const step = fc.oneof(
      fc.record({
        do: fc.constant("event" as const),
        id: fc.nat(30),
        device: fc.option(fc.nat(4)),
        type: fc.constantFrom("alert.blackscreen", "alert.freeze", "build.deployed", "other.thing"),
        priority: fc.constantFrom<Priority>("critical", "high", "normal", "low"),
      }),
      fc.record({ do: fc.constant("end" as const), pick: fc.nat(100), hasLooked: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (maxParallelTasks, steps) => {
        const agent = deployed({ maxParallelTasks });
        const started: string[] = [];
        for (const each of steps) {
          const running = agent.context.running;
          const task = each.do === "end" ? running[each.pick % Math.max(1, running.length)]?.task : undefined;
          if (each.do === "end" && task === undefined) continue;
          const event =
            each.do === "end"
              ? finish(task ?? "", "succeeded", each.hasLooked ? START_MS + 1 : null)
              : {
                  type: "event" as const,
                  event: alert(each.device === null ? null : `d${each.device}`, {
                    id: `r${each.id}`,
                    type: each.type,
                    priority: each.priority,
                  }),
                };
          started.push(...starts(agent.send(event)).map((start) => start.event.id));
          const { context } = agent;
          expect(context.running.length).toBeLessThanOrEqual(maxParallelTasks);
          // Nothing waits beside a free place, but for the end of the task that may answer it.
          const isHeld = ({ trigger, event: { device } }: WaitingWork) =>
            context.running.some((each) => each.trigger === trigger && each.device?.device === device?.device);
          if (!context.waiting.every(isHeld)) expect(context.running.length).toBe(maxParallelTasks);
          const { counts } = context;
          const ended = Object.values(counts.ended).reduce((sum, n) => sum + n, 0);
          expect(counts.started).toBe(ended + context.running.length);
          expect(counts.events).toBe(
            counts.duplicates +
              counts.ignored +
              counts.attached +
              counts.dropped +
              counts.started +
              context.waiting.length,
          );
        }
        expect(new Set(started).size).toBe(started.length);
      }),
      { numRuns: 150 },
    );
  });
});
