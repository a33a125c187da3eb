/** A task that is asked to let its device go: at a safe point, by force, or by a time. */
import { describe, expect, test } from "vitest";
import type { SkillCall, SkillResult, Step, TaskSpec } from "../../actors/messages/task.ts";
import { taskActor } from "../../actors/task.ts";
import type { TaskContext } from "../../actors/task-state.ts";
import { STOP_WAIT_MS } from "../../actors/task-stop.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const nothing = () => Promise.reject(new Error("Driven by hand: nothing runs here"));
const kind = taskActor({ runSkill: nothing, stopSkill: nothing });
const LOCK = "sunri-pi1:device2";
const RESOURCE = `resource/${LOCK}`;
const TTL_MS = 30_000;
const TIMEOUT_MS = 20_000;
const place = { host: "sunri-pi1", device: "device2" };
const step = (id: string, retries = 0): Step => ({
  id,
  skill: "look",
  with: {},
  timeoutMs: TIMEOUT_MS,
  retries,
  needsDevice: true,
});
const event = {
  id: "e1",
  source: "s",
  type: "build.deployed",
  timeMs: START_MS,
  priority: "normal",
  data: {},
  device: place,
} as const;
const spec: TaskSpec = {
  ...{
    agent: "qa-manager",
    agentVersion: "1.0.0",
    trigger: "build.deployed",
    event,
    device: place,
    priority: "normal",
  },
  ...{ steps: [step("one", 1), step("two")], lockTtlMs: TTL_MS },
};
const done: SkillResult = { status: "succeeded", evidence: [{ kind: "frame", at: START_MS }] };
const granted = (token: number) => ({
  type: "resource.granted",
  resource: LOCK,
  token,
  expiresAtMs: START_MS + TTL_MS,
});
const pause = { type: "resource.pause", resource: LOCK, token: 7, by: "task/critical", untilMs: START_MS + TTL_MS };
const taken = {
  ...{ type: "resource.revoked", resource: LOCK, token: 7, reason: "taken over", expiredAtMs: START_MS },
  ...{ by: "client/ops", why: "a demo" },
};

const running = () =>
  new DrivenActor(kind, "t1").send({ type: "start", task: spec }, "agent/qa-manager").send(granted(7), RESOURCE);
const callOf = (actor: DrivenActor) => actor.spawned.at(-1)?.input as SkillCall;
const contextOf = (actor: DrivenActor) => actor.context as TaskContext;

describe("a task that is asked to pause", () => {
  test("ends its step, lets go, and goes on at the next one under a new token", () => {
    const actor = running().clear().send(pause, RESOURCE);
    expect(actor.value).toBe("running");
    expect(actor.sent).toEqual([]);
    actor.resolve(done);
    expect(actor.value).toBe("acquiring");
    expect(actor.sent.map(({ event: sent }) => sent)).toEqual([
      { type: "yield", token: 7 },
      { type: "acquire", priority: "normal", ttlMs: TTL_MS },
    ]);
    expect(actor.timers).toEqual({});
    actor.send({ type: "resource.released", resource: LOCK, token: 7, reason: "preempted" }, RESOURCE);
    actor.send(granted(9), RESOURCE);
    expect(callOf(actor)).toMatchObject({ step: "two", attempt: 1, token: 9 });
    expect(actor.resolve(done).send({ type: "resource.released", resource: LOCK, token: 9 }, RESOURCE).value).toBe(
      "succeeded",
    );
  });

  test("does so at once between two tries, and then tries again", () => {
    const actor = running().resolve({ status: "failed", message: "no signal" }).clear();
    expect(actor.value).toBe("retrying");
    expect(actor.send(pause, RESOURCE).value).toBe("acquiring");
    expect(callOf(actor.send(granted(9), RESOURCE))).toMatchObject({ step: "one", attempt: 2, token: 9 });
  });

  test("goes on to its end when its last step runs, and believes only the lock", () => {
    const stranger = running().send(pause, "task/critical").resolve(done);
    expect(callOf(stranger)).toMatchObject({ step: "two" });
    expect(stranger.send(pause, RESOURCE).resolve(done).value).toBe("releasing");
  });

  test("fails if its grant was over before it paused: the step may not have been done under the lock", () => {
    const actor = running().send(pause, RESOURCE).resolve(done);
    actor.send({ ...taken, reason: "expired", by: null, why: null }, RESOURCE);
    expect(actor.value).toBe("releasing");
    actor.send({ type: "resource.refused", resource: LOCK, reason: "cancelled" }, RESOURCE);
    expect(contextOf(actor)).toMatchObject({ outcome: "failed", reason: "lock_lost" });
  });
});

describe("a task that loses its device by force", () => {
  const all = {
    task: "t1",
    driven: { device: place, token: 7 },
    attempt: { skill: "look", invocationId: "t1/one/1" },
  };

  test("stops what runs, confirms it once nothing does, and says who took it and why", () => {
    const actor = running().clear().send(taken, RESOURCE);
    expect(actor.value).toBe("losing");
    expect(actor.invocations).toEqual(["stop"]);
    expect(actor.spawned).toEqual([{ child: "stop", input: all }]);
    expect(actor.sent).toEqual([]);
    expect(actor.resolve(true, "stop").value).toBe("failed");
    expect(actor.sent).toContainEqual({ to: RESOURCE, event: { type: "stopped", token: 7 } });
    expect(contextOf(actor).reason).toBe('lock_lost: taken over by "client/ops": a demo');
    const { error } = contextOf(actor).steps[0] ?? {};
    expect(error).toBe("The lock was lost while the step ran");
  });

  test.each([
    ["somebody would not say that he stopped", (actor: DrivenActor) => actor.resolve(false, "stop")],
    ["nobody could be asked", (actor: DrivenActor) => actor.reject({ name: "Error", message: "x" }, "stop")],
    ["nothing was heard in time", (actor: DrivenActor) => actor.advance(STOP_WAIT_MS)],
  ])("gives no word when %s", (_case, end) => {
    const actor = end(running().clear().send(taken, RESOURCE));
    expect(actor.value).toBe("failed");
    expect(actor.sentTo(RESOURCE)).toEqual([]);
  });

  test.each([
    ["gives it back", (actor: DrivenActor) => actor.send({ type: "abort", reason: "enough" }).resolve(false, "stop")],
    ["pauses", (actor: DrivenActor) => actor.send(pause, RESOURCE).advance(TIMEOUT_MS).resolve(false, "stop")],
  ])("that %s just then confirms only what it hears, too", (_case, end) => {
    const actor = end(running()).clear().send(taken, RESOURCE);
    expect(actor.spawned).toEqual([{ child: "stop", input: all }]);
    actor.resolve(false, "stop");
    expect(actor.sentTo(RESOURCE)).not.toContain("stopped");
    expect(actor.value).toMatch(/^(failed|aborted)$/);
    const other = end(running()).clear().send(taken, RESOURCE).resolve(true, "stop");
    expect(other.sentTo(RESOURCE)).toContain("stopped");
  });

  test("between two tries has the last one stopped too: its time may have been up while others worked on it", () => {
    const actor = running().advance(TIMEOUT_MS).resolve(false, "stop").clear();
    expect(actor.value).toBe("retrying");
    expect(actor.send(taken, RESOURCE).spawned).toEqual([{ child: "stop", input: all }]);
  });

  test("gives up, and releases once nothing runs, when the policy aborts it", () => {
    const actor = running()
      .clear()
      .send({ type: "resource.abort", resource: LOCK, token: 7, by: "task/critical" }, RESOURCE);
    expect(actor.spawned).toEqual([{ child: "stop", input: all }]);
    expect(actor.sent).toEqual([]);
    actor.resolve(true, "stop");
    expect(actor.sent).toEqual([{ to: RESOURCE, event: { type: "release", token: 7 } }]);
    expect(contextOf(actor)).toMatchObject({ outcome: "aborted", reason: 'preempted by "task/critical"' });
  });

  test("keeps its lock until all has stopped, or for as long as it waits for that, though it is aborted again", () => {
    const again = { name: "AbortedError", code: "ABORTED", message: "Aborted by control" };
    const abort = { type: "abort", reason: "enough" };
    const actor = running().send(abort).clear().reject(again, "stop").send(abort);
    expect([actor.value, actor.sentTo(RESOURCE)]).toEqual(["stopping", []]);
    expect(actor.advance(STOP_WAIT_MS).sentTo(RESOURCE)).toContain("release");
    expect(running().send(taken, RESOURCE).reject(again, "stop").value).toBe("losing");
  });

  test("keeps its lock alive while it stops, and confirms a takeover that comes meanwhile", () => {
    const actor = running()
      .advance(TTL_MS / 3 - 1)
      .send({ type: "abort", reason: "enough" });
    expect(actor.clear().advance(1).sentTo(RESOURCE)).toEqual(["renew"]);
    expect(actor.clear().send(taken, RESOURCE).value).toBe("losing");
    actor.resolve(true, "stop");
    expect(actor.sentTo(RESOURCE)).toEqual(["stopped"]);
    expect(contextOf(actor)).toMatchObject({ outcome: "aborted", reason: "enough" });
  });
});

describe("a task that holds its lock", () => {
  test("renews it with each step, and when it is asked", () => {
    const actor = running().clear().advance(1_000).resolve(done);
    expect(actor.sent).toEqual([{ to: RESOURCE, event: { type: "renew", token: 7 } }]);
    actor
      .clear()
      .send({ type: "resource.expiring", resource: LOCK, token: 7, expiresAtMs: START_MS + 9_000 }, RESOURCE);
    expect(actor.sentTo(RESOURCE)).toEqual(["renew"]);
  });

  test.each([
    [START_MS + TIMEOUT_MS, true],
    [START_MS + TIMEOUT_MS - 1, false],
  ])("asked to release by %i, which its step may reach or not, answers %s", (byMs, accept) => {
    const actor = running()
      .clear()
      .send({ type: "resource.releaseAsked", resource: LOCK, token: 7, by: "task/b", byMs }, RESOURCE);
    expect(actor.sent).toEqual([{ to: RESOURCE, event: { type: "answerRelease", token: 7, accept } }]);
    expect(actor.resolve(done).value).toBe(accept ? "acquiring" : "running");
  });
});

describe("a task whose skills need", () => {
  const start = (lock: string | null) =>
    new DrivenActor(kind, "t1").send({ type: "start", task: { ...spec, lock } }, "agent/qa-manager");

  test("nothing for themselves waits for no lock, though it is about a device", () => {
    const actor = start(null);
    expect(actor.sent).toEqual([]);
    expect(callOf(actor)).toMatchObject({ device: place, token: null, fence: null });
    expect(actor.resolve(done).resolve(done).value).toBe("succeeded");
  });

  test("a tree holds that, and its token drives no device", () => {
    const actor = start("tree=home");
    expect(actor.sentTo("resource/tree=home")).toEqual(["acquire"]);
    actor.send(granted(7), RESOURCE);
    expect(actor.value).toBe("acquiring");
    actor.send({ ...granted(7), resource: "tree=home" }, "resource/tree=home");
    expect(callOf(actor)).toMatchObject({ token: null, fence: { resource: "tree=home", token: 7 } });
    actor
      .resolve(done)
      .resolve(done)
      .send({ type: "resource.released", resource: "tree=home", token: 7 }, "resource/tree=home");
    expect(actor.sentTo("resource/tree=home")).toEqual(["acquire", "renew", "release"]);
    expect(actor.value).toBe("succeeded");
  });

  test("what the event does not name is refused: there is no default", () => {
    const actor = start("The event names no tree");
    expect(contextOf(actor)).toMatchObject({ outcome: "failed" });
    expect(contextOf(actor).reason).toContain("The event names no tree");
  });
});
