/** Compares what was sent, what the system says, and what the devices saw. Invariant: every disagreement is named, none is excused. */
import type { DeviceRun, DoorLog, DoorRecord } from "./door-log.ts";
import type { Books } from "./job-books.ts";
import { ALERT, type SentEvent } from "./job-load.ts";
import type { SkillService, SkillServiceRun } from "./skill-service.ts";

/** Reasons that the faults of the run explain: a lock that expired while nobody could renew it, a driver out of reach. */
const EXPLAINED = [/^lock_lost$/, /did not answer/, /is not there/, /No result within/, /STALE_TOKEN/];
const STEPS_AT_DOOR = ["before", "wake", "verify"];

const countBy = <T>(items: readonly T[], keyOf: (item: T) => string): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(keyOf(item), (counts.get(keyOf(item)) ?? 0) + 1);
  return counts;
};

/** Everything that contradicts the promises, empty if nothing does. */
export function audit(
  books: Books,
  accepted: readonly SentEvent[],
  { records, runs }: DoorLog,
  service: SkillService,
): string[] {
  return [
    ...auditEvents(books, accepted),
    ...auditTasks(books, records),
    ...auditLocks(books),
    ...auditDoors(books, records),
    ...auditRuns(books, [...runs, ...service.runs]),
  ];
}

/** What devices and the service did: each attempt once, no more attempts than the task knows, no token after a newer one. */
function auditRuns({ tasks }: Books, runs: readonly (DeviceRun | SkillServiceRun)[]): string[] {
  const breaches: string[] = [];
  for (const [key, count] of countBy(runs, ({ invocationId }) => invocationId))
    if (count > 1) breaches.push(`${key} was done ${count} times`);
  const perStep = countBy(runs, ({ invocationId }) => invocationId.slice(0, invocationId.lastIndexOf("/")));
  for (const { id, steps } of tasks)
    for (const step of steps) {
      const count = perStep.get(`${id}/${step.id}`) ?? 0;
      if (count > step.attempt)
        breaches.push(`${step.id} of task ${id} was done ${count} times in ${step.attempt} attempts`);
      perStep.delete(`${id}/${step.id}`);
    }
  for (const step of perStep.keys()) breaches.push(`${step} was done and is no task's step`);
  const highest = new Map<string, number>();
  for (const run of runs) {
    if (!("device" in run)) continue;
    const top = highest.get(run.device) ?? 0;
    if (run.token < top) breaches.push(`${run.device} did ${run.invocationId} under token ${run.token} after ${top}`);
    highest.set(run.device, Math.max(top, run.token));
  }
  return breaches;
}

/** Each accepted event led to one task, or was counted as a repeat of an alert whose task was under way. */
function auditEvents({ agent, delivered, tasks, deadLetters }: Books, accepted: readonly SentEvent[]): string[] {
  const breaches: string[] = [];
  const perEvent = countBy(tasks, ({ spec }) => `${spec?.event.source}/${spec?.event.id}`);
  const keys = new Set(accepted.map(({ key }) => key));
  const arrived = new Set(delivered);
  let coalesced = 0;
  for (const { key, type } of accepted) {
    const started = perEvent.get(key) ?? 0;
    if (!arrived.has(key)) breaches.push(`event ${key} was accepted and never reached the agent`);
    if (started > 1) breaches.push(`event ${key} started ${started} tasks`);
    if (started === 0 && type !== ALERT) breaches.push(`event ${key} started no task`);
    if (started === 0 && type === ALERT) coalesced++;
  }
  for (const key of [...arrived, ...perEvent.keys()])
    if (!keys.has(key)) breaches.push(`event ${key} was never published`);
  const { counts } = agent;
  const expected = {
    events: delivered.length,
    duplicates: delivered.length - keys.size,
    ignored: 0,
    attached: coalesced,
    dropped: 0,
    started: keys.size - coalesced,
  };
  for (const [name, count] of Object.entries(expected)) {
    const told = counts[name as keyof typeof expected];
    if (told !== count) breaches.push(`the agent counted ${told} ${name}, it was ${count}`);
  }
  if (tasks.length !== counts.started) breaches.push(`${tasks.length} tasks exist, ${counts.started} were started`);
  if (deadLetters.length > 0) breaches.push(`dead letters: ${JSON.stringify(deadLetters)}`);
  return breaches;
}

/** Each task ended once, with evidence or with a reason, and acted no more often than it says. */
function auditTasks({ tasks, told, news }: Books, doors: readonly DoorRecord[]): string[] {
  const breaches: string[] = [];
  const ends = countBy(told, (task) => task);
  const announced = countBy(
    news.filter(({ type }) => type === "task.finished"),
    ({ data }) => String(data["task"]),
  );
  for (const { id, value, done, outcome, evidence, reason, steps } of tasks) {
    if (!done || value !== outcome) breaches.push(`task ${id} is not over: ${JSON.stringify(value)}`);
    if (ends.get(id) !== 1) breaches.push(`task ${id} told the agent of its end ${ends.get(id) ?? 0} times`);
    if (announced.get(id) !== 1) breaches.push(`task ${id} announced its end ${announced.get(id) ?? 0} times`);
    if (outcome === "succeeded" && evidence.length === 0) breaches.push(`task ${id} succeeded without evidence`);
    if (outcome !== "succeeded" && !EXPLAINED.some((pattern) => pattern.test(reason ?? "")))
      breaches.push(`task ${id} ended ${outcome} for a reason that no fault explains: ${reason}`);
    for (const step of steps) {
      const acts = doors.filter((each) => each.task === id && each.step === step.id && each.accepted && !each.late);
      const actions = new Set(acts.map(({ invocationId }) => invocationId)).size;
      if (actions > step.attempt)
        breaches.push(`task ${id} acted ${actions} times in ${step.attempt} tries of ${step.id}`);
      if (outcome === "succeeded" && STEPS_AT_DOOR.includes(step.id) && actions === 0)
        breaches.push(`task ${id} succeeded and the device never saw its step ${step.id}`);
    }
  }
  return breaches;
}

/** Each grant has the next token, one holder, and one end; none is left. */
function auditLocks({ locks, news, tasks }: Books): string[] {
  const breaches: string[] = [];
  const lastEndOf = new Map(
    tasks
      .filter(({ outcome }) => outcome === "succeeded")
      .map(({ id, steps }) => [`task/${id}`, Math.max(...steps.map(({ endedAtMs }) => endedAtMs ?? Infinity))]),
  );
  const ids = new Set(tasks.map(({ id }) => `task/${id}`));
  const told = countBy(news, ({ type, data }) => `${type} ${String(data["resource"])} ${String(data["token"])}`);
  for (const { resource, token, holders, queue, history } of locks) {
    if (holders.length > 0 || queue.length > 0) breaches.push(`lock ${resource} is still held or awaited`);
    if (history.length !== token) breaches.push(`lock ${resource} gave ${token} tokens in ${history.length} grants`);
    for (const [i, grant] of history.entries()) {
      const name = `grant ${grant.token} of ${resource}`;
      if (grant.token !== i + 1) breaches.push(`${name} is number ${i + 1}`);
      if (grant.reason === "expired" && (lastEndOf.get(grant.holder) ?? 0) > (grant.endedAtMs ?? 0))
        breaches.push(`${name} was over before ${grant.holder} had succeeded`);
      if (grant.reason === null || grant.endedAtMs === null) breaches.push(`${name} has no end`);
      if (!ids.has(grant.holder)) breaches.push(`${name} went to ${grant.holder}, which is no task`);
      const next = history[i + 1];
      if (next !== undefined && next.grantedAtMs < (grant.endedAtMs ?? Infinity))
        breaches.push(`${name} overlaps the next one`);
      const count = (type: string) => told.get(`resource.${type} ${resource} ${grant.token}`) ?? 0;
      if (count("granted") !== 1 || count("released") + count("expired") + count("preempted") !== 1)
        breaches.push(
          `${name}: told ${count("granted")} × granted, ${count("released")} × released, ${count("expired")} × expired`,
        );
    }
  }
  return breaches;
}

/** Seen from the device: tokens never go back, and each is one task's. */
function auditDoors({ locks }: Books, doors: readonly DoorRecord[]): string[] {
  const breaches: string[] = [];
  const holders = new Map(
    locks.flatMap(({ resource, history }) => history.map(({ token, holder }) => [`${resource} ${token}`, holder])),
  );
  const highest = new Map<string, number>();
  const done = new Set<string>();
  for (const { device, token, task, command, invocationId, accepted, code, late } of doors) {
    const act = `${device}: ${command} of ${task} under token ${token}`;
    const top = highest.get(device) ?? 0;
    if (late && code !== "STALE_TOKEN") breaches.push(`${act}: a late packet was answered ${code ?? "with success"}`);
    // A repeat of a call is answered from memory and is no action.
    if (!accepted || done.has(`${device} ${token} ${invocationId}`)) continue;
    done.add(`${device} ${token} ${invocationId}`);
    if (token < top) breaches.push(`${act}: accepted after token ${top}`);
    highest.set(device, Math.max(top, token));
    const holder = holders.get(`${device} ${token}`);
    if (holder !== `task/${task}`) breaches.push(`${act}: the token was granted to ${holder ?? "nobody"}`);
  }
  return breaches;
}
