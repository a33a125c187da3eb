/**
 * How an agent turns events into tasks: pure functions of its state. Invariant: an event starts at most one task, at most
 * `maxParallelTasks` run at once, what waits goes by priority, then arrival, and an alert is either answered by a task that
 * looked at the device after it came, or starts one.
 */
import { deviceId, eventKey, type LabEvent } from "../actors/messages/event.ts";
import type { TaskFinished, TaskSpec } from "../actors/messages/task.ts";
import { sizeOf } from "../runtime/codec.ts";
import { priorityRank, type Priority } from "../runtime/priority.ts";
import {
  type AgentContext,
  type AgentCounts,
  QUEUE_BYTES,
  RECENT_LIMIT,
  SEEN_BYTES,
  SEEN_LIMIT,
  type WaitingWork,
} from "./agent-state.ts";
import { playbookFor, triggerFor } from "./filter.ts";

/** A task to start, under an id that the caller drew. */
export interface TaskStart {
  readonly task: string;
  readonly spec: TaskSpec;
}

export interface Taken {
  readonly context: AgentContext;
  /** Work that found no place. */
  readonly dropped: readonly WaitingWork[];
}

/** Events of this family say again and again that something is wrong; others are a new fact each. */
const ALERTS = "alert.";

/** Takes one event: drops a duplicate, attaches an alert that repeats a waiting one, or lets it wait for {@link startNext}. */
export function takeEvent(before: AgentContext, event: LabEvent, nowMs: number): Taken {
  const key = eventKey(event);
  const context = count(before, { events: 1 });
  if (isKnown(context, key)) return { context: count(context, { duplicates: 1 }), dropped: [] };
  const seen = remember(context.seen, key);
  const trigger = context.plan === null ? undefined : triggerFor(context.plan, event);
  const playbook = context.plan === null || trigger === undefined ? undefined : playbookFor(context.plan, event.type);
  if (trigger === undefined || playbook === undefined)
    return { context: { ...count(context, { ignored: 1 }), seen }, dropped: [] };
  // What was classified as background (a resolved alert) stays so, however urgent its kind is.
  const priority = event.priority === "low" ? "low" : (trigger.priority ?? event.priority);
  const work = { event, trigger: playbook.on, priority, sinceMs: nowMs, lastMs: nowMs, attached: 0 };
  const attached = attach(context, work);
  if (attached !== null) return { context: { ...attached, seen }, dropped: [] };
  return enqueue({ ...context, seen }, { ...work, bytes: sizeOf(work, "The work") + COUNT_BYTES });
}

/** What `bytes` itself takes, with its name. */
const COUNT_BYTES = 32;

function remember(seen: readonly string[], key: string): readonly string[] {
  const kept = [...seen, key].slice(-SEEN_LIMIT);
  while (kept.length > 1 && sizeOf(kept, "The window") > SEEN_BYTES) kept.shift();
  return kept;
}

/** Also true for what is under way, though so much came since that the window has forgotten it. */
const isKnown = ({ seen, waiting, running }: AgentContext, key: string): boolean =>
  seen.includes(key) ||
  waiting.some((work) => eventKey(work.event) === key) ||
  running.some((task) => eventKey(task.event) === key);

type Alerted = Pick<WaitingWork, "event" | "trigger">;

/** Whether `work` says again of `device` what `trigger` stands for. */
const isAlertFor = ({ event, trigger }: Alerted, to: string, device: LabEvent["device"]): boolean =>
  event.type.startsWith(ALERTS) &&
  trigger === to &&
  event.device !== null &&
  device !== null &&
  deviceId(event.device) === deviceId(device);

/** Counts a repeated alert on the one that waits for its device; null if none does. */
function attach(context: AgentContext, work: Omit<WaitingWork, "bytes">): AgentContext | null {
  const waiting = context.waiting.findIndex((each) => isAlertFor(work, each.trigger, each.event.device));
  if (waiting === -1) return null;
  const raised = (each: WaitingWork) => ({
    ...each,
    attached: each.attached + 1,
    lastMs: work.lastMs,
    priority: higher(each.priority, work.priority),
  });
  const counted = count(context, { attached: 1 });
  return { ...counted, waiting: context.waiting.map((each, i) => (i === waiting ? raised(each) : each)) };
}

/** A task for the same alert is under way: it may answer this one too, which shows when it ends. */
const isHeld = ({ running }: AgentContext, work: WaitingWork): boolean =>
  running.some(({ trigger, device }) => isAlertFor(work, trigger, device));

const higher = (a: Priority, b: Priority): Priority => (priorityRank(a) <= priorityRank(b) ? a : b);

/** Adds work in order of arrival; at a limit the least urgent, latest work goes, which may be the new one. */
function enqueue(context: AgentContext, work: WaitingWork): Taken {
  let waiting = [...context.waiting, work];
  const dropped: WaitingWork[] = [];
  while (waiting.length > 1 && bytesOf(waiting) > QUEUE_BYTES) {
    const worst = waiting.reduce((a, b) => (priorityRank(b.priority) >= priorityRank(a.priority) ? b : a));
    waiting = waiting.filter((each) => each !== worst);
    dropped.push(worst);
  }
  return { context: { ...count(context, { dropped: dropped.length }), waiting }, dropped };
}

const bytesOf = (waiting: readonly WaitingWork[]): number => waiting.reduce((sum, work) => sum + work.bytes, 0);

/** Starts as many waiting tasks as there are free places. */
export function startNext(
  before: AgentContext,
  nowMs: number,
  drawId: () => string,
): { readonly context: AgentContext; readonly starts: readonly TaskStart[] } {
  const starts: TaskStart[] = [];
  let context = before;
  while (context.plan !== null && context.running.length < context.plan.maxParallelTasks) {
    const { waiting } = context;
    const next = mostUrgent(waiting.filter((each) => !isHeld(context, each)));
    if (next === undefined) break;
    context = { ...context, waiting: waiting.filter((each) => each !== next) };
    const spec = specFor(context, next);
    // The plan changed while it waited and no longer has a playbook for it.
    if (spec === null) {
      context = count(context, { ignored: 1 });
      continue;
    }
    const task = drawId();
    const { source, id, type } = next.event;
    const running = {
      task,
      trigger: next.trigger,
      priority: next.priority,
      event: { source, id, type },
      device: next.event.device,
      startedAtMs: nowMs,
      attached: next.attached,
    };
    context = { ...count(context, { started: 1 }), running: [...context.running, running] };
    starts.push({ task, spec });
  }
  return { context, starts };
}

const mostUrgent = (waiting: readonly WaitingWork[]): WaitingWork | undefined =>
  waiting.reduce<WaitingWork | undefined>(
    (best, each) => (best === undefined || priorityRank(each.priority) < priorityRank(best.priority) ? each : best),
    undefined,
  );

/** No resource can have this name, so the task is refused with it. */
const NO_DEVICE = "The event names no device: send host_name and device_id";

/** Events name what is changed as they name devices: there is no default one, and a task without a name is refused. */
function namedLock(scope: "tree" | "userinterface", { data }: LabEvent): string {
  const fields = (typeof data === "object" && data !== null ? data : {}) as { readonly [field: string]: unknown };
  const name = fields[scope === "tree" ? "tree_id" : "userinterface_name"];
  return typeof name === "string" && name !== "" ? `${scope}=${name}` : `The event names no ${scope}`;
}

function specFor({ id, plan }: AgentContext, { event, priority }: WaitingWork): TaskSpec | null {
  const playbook = plan === null ? undefined : playbookFor(plan, event.type);
  if (plan === null || playbook === undefined) return null;
  const { steps, lockTtlMs, on } = playbook;
  const device = playbook.device === "event" ? event.device : null;
  const task = { agent: id, agentVersion: plan.version, trigger: on, event, device, priority, steps, lockTtlMs };
  const { locks = "device" } = playbook;
  if (locks === "tree" || locks === "userinterface") return { ...task, lock: namedLock(locks, event) };
  const isUnnamed = playbook.device === "event" && device === null && steps.some(({ needsDevice }) => needsDevice);
  if (isUnnamed) return { ...task, lock: NO_DEVICE };
  return locks === "none" ? { ...task, lock: null } : task;
}

/** Records the end of a task, with the alerts that it answered; the same context if it is none of ours. */
export function endTask(before: AgentContext, fact: TaskFinished, nowMs: number): AgentContext {
  const own = before.running.find((each) => each.task === fact.task);
  if (own === undefined) return before;
  const { task, trigger, state, reason, lastLookAtMs } = fact;
  const isAnswered = (work: WaitingWork) =>
    isAlertFor(work, own.trigger, own.device) && lastLookAtMs !== null && work.lastMs < lastLookAtMs;
  const waiting = before.waiting.filter((each) => !isAnswered(each));
  const context = count(before, { attached: before.waiting.length - waiting.length });
  const ended = { ...context.counts.ended, [state]: context.counts.ended[state] + 1 };
  return {
    ...context,
    waiting,
    running: context.running.filter((each) => each.task !== task),
    recent: [...context.recent, { task, trigger, state, reason, endedAtMs: nowMs }].slice(-RECENT_LIMIT),
    counts: { ...context.counts, ended },
  };
}

type Tally = Exclude<keyof AgentCounts, "ended">;

function count(context: AgentContext, more: Partial<Record<Tally, number>>): AgentContext {
  const counts = { ...context.counts };
  for (const key of Object.keys(more) as Tally[]) counts[key] += more[key] ?? 0;
  return { ...context, counts };
}
