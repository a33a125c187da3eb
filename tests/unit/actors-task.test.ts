import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SkillCall, SkillResult, Step, TaskSpec } from "../../actors/messages/task.ts";
import { RELEASE_WAIT_MS, RETRY_PAUSE_MS, taskActor } from "../../actors/task.ts";
import type { TaskContext } from "../../actors/task-state.ts";
import { ARGS_LIMIT_BYTES, KEPT_LIMIT_BYTES } from "../../actors/task-steps.ts";
import { UnknownEventError } from "../../runtime/errors.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const nothing = () => Promise.reject(new Error("Driven by hand: nothing runs here"));
const kind = taskActor({ runSkill: nothing, stopSkill: nothing });
const LOCK = "sunri-pi1:device2";
const TTL_MS = 30_000;
const TIMEOUT_MS = 20_000;
const AGENT = "agent/qa-manager";

const step = (id: string, more: Partial<Step> = {}): Step => ({
  id,
  skill: "capture_screenshot",
  with: {},
  timeoutMs: TIMEOUT_MS,
  retries: 0,
  needsDevice: true,
  ...more,
});
const spec = (more: Partial<TaskSpec> = {}): TaskSpec => ({
  agent: "qa-manager",
  agentVersion: "2.1.0",
  trigger: "alert.blackscreen",
  event: {
    id: "e1",
    source: "device/sunri-pi1/device2",
    type: "alert.blackscreen",
    timeMs: START_MS,
    priority: "critical",
    data: { channel: "RTS 1" },
    device: { host: "sunri-pi1", device: "device2" },
  },
  device: { host: "sunri-pi1", device: "device2" },
  priority: "critical",
  steps: [step("look"), step("press", { skill: "press_key", with: { key: "OK" } })],
  lockTtlMs: TTL_MS,
  ...more,
});
const evidence = [{ kind: "frame", at: START_MS, ref: "frames/1.jpg" }];
const done: SkillResult = { status: "succeeded", output: { ok: true }, evidence };
const RESOURCE = `resource/${LOCK}`;
const granted = { type: "resource.granted", resource: LOCK, token: 7, expiresAtMs: START_MS + TTL_MS };
const released = { type: "resource.released", resource: LOCK, token: 7, reason: "released" };
const revoked = {
  type: "resource.revoked",
  resource: LOCK,
  token: 7,
  reason: "expired",
  expiredAtMs: START_MS + TTL_MS,
};
const boom = { name: "Error", message: "The device does not answer" };

const task = (more: Partial<TaskSpec> = {}) =>
  new DrivenActor(kind, "t1").send({ type: "start", task: spec(more) }, AGENT);
const running = (more: Partial<TaskSpec> = {}) => task(more).send(granted, RESOURCE);
const contextOf = (actor: DrivenActor) => actor.context as TaskContext;
const callOf = (actor: DrivenActor) => actor.spawned.at(-1)?.input as SkillCall;
const finished = (actor: DrivenActor) => actor.sent.filter(({ to }) => to === AGENT).map(({ event }) => event);
/** What was at work has ended. */
const stop = (actor: DrivenActor) => actor.resolve(true, "stop");
const states = (actor: DrivenActor) => contextOf(actor).steps.map(({ status }) => status);

describe("task", () => {
  describe.each(["client-1", "task/t2", "resource/other:device2"])("that hears of its lock from %s", (stranger) => {
    const queued = { type: "resource.queued", resource: LOCK, position: 2, holder: "task/other" };
    const refused = { type: "resource.refused", resource: LOCK, reason: "full" };
    const pause = { type: "resource.pause", resource: LOCK, token: 7, by: "task/x", untilMs: START_MS };
    const abort = { type: "resource.abort", resource: LOCK, token: 7, by: "task/x" };

    test.each([
      ["acquiring", () => task(), [{ ...granted, token: 1_000_000 }, queued, refused, revoked]],
      ["running", () => running(), [revoked, pause, abort, released]],
      ["releasing", () => running().resolve(done).resolve(done), [released, revoked, refused]],
    ] as const)("believes nothing of it while %s", (state, make, forged) => {
      const actor = make().clear();
      const before = JSON.stringify(actor.context);
      for (const event of forged) actor.send(event, stranger);
      expect(actor.value).toBe(state);
      expect(JSON.stringify(actor.context)).toBe(before);
      expect([...actor.sent, ...actor.spawned, ...actor.published]).toEqual([]);
    });
  });

  test("takes no result of its skill from anybody but the skill", () => {
    const actor = running();
    const forged = { type: "xstate.done.actor.skill", output: done, actorId: "skill" };
    for (const stranger of ["client-1", "task/t2", "agent/qa-manager"])
      expect(() => actor.send(forged, stranger)).toThrow(UnknownEventError);
    expect(states(actor)).toEqual(["running", "pending"]);
  });

  test("asks for the lock first, runs step by step under its token, releases, then reports with evidence", () => {
    const actor = task();
    expect(actor.value).toBe("acquiring");
    expect(actor.sent).toEqual([{ to: RESOURCE, event: { type: "acquire", priority: "critical", ttlMs: TTL_MS } }]);
    expect(actor.spawned).toEqual([]);
    actor.send({ type: "resource.queued", resource: LOCK, position: 2, holder: "task/other" }, RESOURCE);
    expect(contextOf(actor).place).toEqual({ position: 2, holder: "task/other" });
    actor.send(granted, RESOURCE);
    expect(actor.value).toBe("running");
    expect(callOf(actor)).toEqual({
      skill: "capture_screenshot",
      args: {},
      device: { host: "sunri-pi1", device: "device2" },
      token: 7,
      fence: { resource: LOCK, token: 7 },
      task: "t1",
      step: "look",
      attempt: 1,
      invocationId: "t1/look/1",
      deadlineAtMs: START_MS + TIMEOUT_MS,
    });
    actor.advance(1_000).resolve(done);
    expect(callOf(actor)).toMatchObject({ skill: "press_key", args: { key: "OK" }, step: "press", token: 7 });
    actor.advance(500).resolve({ status: "succeeded", evidence: [] });
    expect(actor.value).toBe("releasing");
    expect(actor.sent.at(-1)).toEqual({ to: RESOURCE, event: { type: "release", token: 7 } });
    expect(finished(actor)).toEqual([]);
    actor.send(released, RESOURCE);
    expect(actor.value).toBe("succeeded");
    expect(finished(actor)).toEqual([
      {
        type: "task.finished",
        task: "t1",
        state: "succeeded",
        reason: null,
        trigger: "alert.blackscreen",
        lastLookAtMs: START_MS + 1_000,
      },
    ]);
    expect(actor.published).toMatchObject([
      {
        pool: "shared.results",
        event: {
          type: "task.finished",
          priority: "normal",
          data: { task: "t1", state: "succeeded", host_name: "sunri-pi1", device_id: "device2" },
        },
      },
    ]);
    expect(contextOf(actor)).toMatchObject({
      lock: null,
      evidence,
      startedAtMs: START_MS,
      endedAtMs: START_MS + 1_500,
    });
    expect(contextOf(actor).steps).toMatchObject([
      {
        id: "look",
        status: "succeeded",
        attempt: 1,
        startedAtMs: START_MS,
        endedAtMs: START_MS + 1_000,
        output: { ok: true },
        evidence,
      },
      { id: "press", status: "succeeded", attempt: 1, startedAtMs: START_MS + 1_000, endedAtMs: START_MS + 1_500 },
    ]);
    expect(actor.timers).toEqual({});
  });

  test("runs without a lock when it needs no device", () => {
    const actor = task({ device: null, steps: [step("think", { needsDevice: false })] });
    expect(actor.value).toBe("running");
    expect(callOf(actor)).toMatchObject({ device: null, token: null });
    actor.resolve(done);
    expect(actor.value).toBe("succeeded");
    expect(actor.sentTo(RESOURCE)).toEqual([]);
  });

  test("fails with no_evidence when all steps succeeded but nothing shows it", () => {
    const actor = running({ steps: [step("look")] })
      .resolve({ status: "succeeded", output: {} })
      .send(released, RESOURCE);
    expect(actor.value).toBe("failed");
    expect(finished(actor)).toMatchObject([{ state: "failed", reason: "no_evidence" }]);
  });

  test.each([
    [
      "unknown",
      { status: "unknown", message: "The frame is degraded" },
      "unknown",
      'Step "look": The frame is degraded',
    ],
    ["failed", { status: "failed", message: "No picture" }, "failed", 'Step "look": No picture'],
    ["failed", { status: "failed" }, "failed", 'Step "look": The skill reported "failed" without a message'],
    [
      "failed",
      { status: "great", evidence },
      "failed",
      'Step "look": The skill gave no result: return { status, output, evidence }',
    ],
    ["failed", null, "failed", 'Step "look": The skill gave no result: return { status, output, evidence }'],
  ] as const)("ends %s when a step returns %j, and skips the rest", (state, result, stepStatus, reason) => {
    const actor = running().resolve(result);
    expect(actor.value).toBe("releasing");
    actor.send(released, RESOURCE);
    expect(actor.value).toBe(state);
    expect(states(actor)).toEqual([stepStatus, "skipped"]);
    expect(finished(actor)).toMatchObject([{ state, reason }]);
  });

  test("tries a failed step again after a growing pause, and goes on when it succeeds", () => {
    const actor = running({ steps: [step("look", { retries: 2 })] }).reject(boom);
    expect(actor.value).toBe("retrying");
    actor.advance(RETRY_PAUSE_MS).resolve({ status: "failed", message: "No picture" });
    expect(actor.value).toBe("retrying");
    actor.advance(RETRY_PAUSE_MS);
    expect(actor.value).toBe("retrying");
    actor.advance(RETRY_PAUSE_MS);
    actor.resolve(done).send(released, RESOURCE);
    expect(actor.value).toBe("succeeded");
    expect(contextOf(actor).steps).toMatchObject([{ attempt: 2, tries: 3, status: "succeeded", error: null }]);
  });

  test.each([
    ["it throws", (actor: DrivenActor) => actor.reject(boom), "look/1"],
    ["it takes too long", (actor: DrivenActor) => stop(actor.advance(TIMEOUT_MS)), "look/1"],
    ["it says unknown", (actor: DrivenActor) => actor.resolve({ status: "unknown", message: "x" }), "look/1"],
    ["it says failed", (actor: DrivenActor) => actor.resolve({ status: "failed", message: "x" }), "look/2"],
    ["it gives no result", (actor: DrivenActor) => actor.resolve("x"), "look/2"],
  ] as const)("asks a skill again under the key that fits when %s", (_case, end, key) => {
    const actor = end(running({ steps: [step("look", { retries: 2 })] })).advance(RETRY_PAUSE_MS);
    expect(callOf(actor)).toMatchObject({ invocationId: `t1/${key}`, token: 7 });
    // Whatever is tried next, an attempt of unknown outcome keeps its key.
    actor.reject(boom).advance(2 * RETRY_PAUSE_MS);
    expect(callOf(actor)).toMatchObject({ invocationId: `t1/${key}` });
    actor.reject(boom).send(released, RESOURCE);
    expect(actor.value).toBe("unknown");
    expect(contextOf(actor)).toMatchObject({ reason: `Step "look": ${boom.message}`, steps: [{ tries: 3 }] });
  });

  test.each([
    ["before it ended", 999, "failed", ["succeeded", "failed"]],
    ["as it ended", 1_000, "succeeded", ["succeeded", "succeeded"]],
  ])("judges a step by the lock when the news comes late that it was over %s", (_case, overMs, end, steps) => {
    const actor = running().advance(500).resolve(done).advance(500).resolve(done).advance(60);
    expect(actor.value).toBe("releasing");
    actor.send({ ...revoked, expiredAtMs: START_MS + overMs }, RESOURCE);
    expect(actor.value).toBe(end);
    expect(states(actor)).toEqual(steps);
    expect(finished(actor)).toMatchObject([{ state: end, reason: end === "failed" ? "lock_lost" : null }]);
    expect(contextOf(actor).evidence).toHaveLength(2);
  });

  test("keeps what an abort decided when the lock was over before", () => {
    const actor = running({ steps: [step("look")] })
      .advance(500)
      .send({ type: "abort", reason: "stop" });
    actor.send({ ...revoked, expiredAtMs: START_MS }, RESOURCE);
    expect(actor.value).toBe("aborted");
  });

  test("fails when the retries are used up", () => {
    const actor = running({ steps: [step("look", { retries: 1 })] })
      .reject(boom)
      .advance(RETRY_PAUSE_MS)
      .reject(boom);
    expect(actor.value).toBe("releasing");
    expect(contextOf(actor).reason).toBe('Step "look": The device does not answer');
  });

  test("stops an attempt that takes longer than its step allows", () => {
    const actor = running().advance(TIMEOUT_MS - 1);
    expect(actor.value).toBe("running");
    actor.advance(1);
    expect(actor.value).toBe("ending");
    // What else works on it goes on: a service or a driver is asked again under the same key.
    expect(actor.spawned.at(-1)?.input).toEqual({ task: "t1", driven: null, attempt: null });
    expect(stop(actor).value).toBe("releasing");
    expect(actor.invocations).toEqual([]);
    expect(contextOf(actor).reason).toBe(`Step "look": No result within ${TIMEOUT_MS} ms`);
  });

  test("renews its lock at a third of its time to live as long as it runs, through retries, and then no more", () => {
    const actor = running({ steps: [step("look", { retries: 1, timeoutMs: 60_000 })] })
      .clear()
      .advance(TTL_MS - 1);
    expect(actor.sent).toEqual([1, 2].map(() => ({ to: RESOURCE, event: { type: "renew", token: 7 } })));
    actor.reject(boom).clear().advance(1);
    expect(actor.sentTo(RESOURCE)).toEqual(["renew"]);
    actor
      .advance(RETRY_PAUSE_MS)
      .resolve(done)
      .clear()
      .advance(10 * TTL_MS);
    expect(actor.sentTo(RESOURCE)).toEqual([]);
  });

  test.each([
    ["running", (actor: DrivenActor) => actor, ["failed", "skipped"]],
    ["retrying", (actor: DrivenActor) => actor.reject(boom), ["unknown", "skipped"]],
  ] as const)("aborts its skill and fails with lock_lost when the lock is revoked while %s", (state, bring, steps) => {
    const actor = bring(running({ steps: [step("look", { retries: 1 }), step("press")] }));
    expect(actor.value).toBe(state);
    actor.clear().send(revoked, RESOURCE);
    expect(actor.value).toBe("failed");
    expect(actor.invocations).toEqual([]);
    expect(states(actor)).toEqual(steps);
    expect(finished(actor)).toMatchObject([{ state: "failed", reason: "lock_lost" }]);
    expect(actor.sentTo(RESOURCE)).toEqual([]);
  });

  test("does not mind the loss of a lock that is not its own", () => {
    expect(running().send({ ...revoked, token: 6 }, RESOURCE).value).toBe("running");
    expect(task().send({ ...granted, resource: "sunri-pi1:device1" }, "resource/sunri-pi1:device1").value).toBe(
      "acquiring",
    );
  });

  test("fails when the lock is refused", () => {
    const actor = task().send({ type: "resource.refused", resource: LOCK, reason: "full" }, RESOURCE);
    expect(actor.value).toBe("failed");
    expect(finished(actor)).toMatchObject([{ reason: "lock_refused: full" }]);
  });

  test.each([
    ["acquiring", () => task(), "cancel", ["skipped", "skipped"]],
    ["running", () => running(), "release", ["unknown", "skipped"]],
    [
      "retrying",
      () => running({ steps: [step("look", { retries: 1 }), step("press")] }).reject(boom),
      "release",
      ["unknown", "skipped"],
    ],
  ] as const)("ends aborted from %s after it gave up its lock", (state, make, command, steps) => {
    const actor = make();
    expect(actor.value).toBe(state);
    actor.clear().send({ type: "abort", reason: "The operator said so" });
    if (command === "release") {
      expect(actor.value).toBe("stopping");
      expect(actor.sentTo(RESOURCE)).toEqual([]);
      stop(actor);
    }
    expect(actor.value).toBe("releasing");
    expect(actor.sentTo(RESOURCE)).toEqual([command]);
    expect(actor.invocations).toEqual([]);
    actor.send(
      command === "cancel" ? { type: "resource.refused", resource: LOCK, reason: "cancelled" } : released,
      RESOURCE,
    );
    expect(actor.value).toBe("aborted");
    expect(states(actor)).toEqual(steps);
    expect(finished(actor)).toMatchObject([{ state: "aborted", reason: "The operator said so" }]);
  });

  test("waits for the end of a grant that crossed its cancel", () => {
    const actor = task().send({ type: "abort", reason: "stop" }).send(granted, RESOURCE);
    expect(actor.value).toBe("releasing");
    actor.send({ ...released, reason: "cancelled" }, RESOURCE);
    expect(actor.value).toBe("aborted");
    expect(actor.spawned).toEqual([]);
  });

  test("takes what an abort's signal interrupted for no failure, and waits for the abort itself", () => {
    const actor = running({ steps: [step("look", { retries: 3 })] }).reject({
      name: "AbortedError",
      code: "ABORTED",
      message: "stop",
    });
    expect(actor.value).toBe("running");
    stop(actor.send({ type: "abort", reason: "stop" })).send(released, RESOURCE);
    expect(actor.value).toBe("aborted");
    expect(contextOf(actor).steps).toMatchObject([{ attempt: 1 }]);
  });

  test("ends though the lock never answers its release", () => {
    const actor = running({ steps: [step("look")] })
      .resolve(done)
      .advance(RELEASE_WAIT_MS);
    expect(actor.value).toBe("succeeded");
  });

  test("fills the arguments from the event and from earlier outputs", () => {
    const steps = [
      step("look"),
      step("press", {
        with: { key: "${steps.look.output.key}", text: "on ${event.data.channel}", at: "${device.host}" },
      }),
    ];
    const actor = running({ steps }).resolve({ ...done, output: { key: "BACK" } });
    expect(callOf(actor).args).toEqual({ key: "BACK", text: "on RTS 1", at: "sunri-pi1" });
  });

  test("fails a step whose arguments name nothing, at once and without calling the skill", () => {
    const actor = running({ steps: [step("look", { with: { x: "${steps.none.output}" }, retries: 5 })] });
    expect(actor.spawned).toEqual([]);
    expect(actor.send(released, RESOURCE).value).toBe("failed");
    expect(contextOf(actor).reason).toBe('Step "look": "${steps.none.output}" leads nowhere at "none": known are look');
    const large = running({ steps: [step("look", { with: { x: "x".repeat(ARGS_LIMIT_BYTES) } })] });
    expect(contextOf(large).reason).toContain("pass a reference instead");
  });

  test("fails a step that needs a device when the task has none", () => {
    const actor = task({ device: null, steps: [step("look")] });
    expect(actor.value).toBe("failed");
    expect(contextOf(actor).reason).toContain('Skill "capture_screenshot" needs a device');
  });

  test("keeps large outputs and evidence out of its state", () => {
    const big = "x".repeat(15_000);
    const steps = Array.from({ length: 20 }, (_, i) => step(`s${i}`));
    const actor = running({ steps });
    for (const _ of steps)
      actor.resolve({
        status: "succeeded",
        output: big,
        evidence: [{ kind: "frame", at: 1, ref: "frames/1.jpg", data: big }],
      });
    expect(actor.value).toBe("releasing");
    expect(JSON.stringify(contextOf(actor).steps).length).toBeLessThan(KEPT_LIMIT_BYTES + 20_000);
    expect(contextOf(actor).evidence).toHaveLength(20);
    expect(contextOf(actor).evidence.at(-1)).toMatchObject({
      ref: "frames/1.jpg",
      data: { dropped: expect.any(String) },
    });
  });

  test.each([
    [{ steps: [] }, "The task needs 1 to 50 steps"],
    [{ steps: [step("a"), step("a")] }, 'Two steps are named "a"'],
    [{ steps: [step("a", { timeoutMs: 0 })] }, 'Step "a" cannot be run: timeoutMs'],
    [{ steps: [step("a", { retries: 1e9 })] }, 'Step "a" cannot be run: retries'],
    [{ device: { host: "a.b", device: "c" } }, 'The id "a.b:c" is not valid'],
    [{ lockTtlMs: -5 }, "lockTtlMs -5 is not"],
    [{ priority: "urgent" as never }, 'The priority "urgent" is not known'],
    [{ agent: "a/b" }, 'The id "a/b" is not valid'],
  ] as const)("refuses to start %j: a client may try again, an agent is told", (more, message) => {
    const bad = { type: "start", task: spec(more as Partial<TaskSpec>) };
    const byClient = new DrivenActor(kind, "t1").send(bad);
    expect(byClient.answer).toMatchObject({ ok: false, code: "BAD_TASK", message: expect.stringContaining(message) });
    expect(byClient.value).toBe("waiting");
    const byAgent = new DrivenActor(kind, "t1").send(bad, AGENT);
    expect(byAgent.value).toBe("failed");
    expect(finished(byAgent)).toMatchObject([{ state: "failed", reason: expect.stringContaining(message) }]);
  });

  test("refuses anything as a task that is none", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const actor = new DrivenActor(kind, "t1").send({ type: "start", task: value });
        expect(actor.answer).toMatchObject({ ok: false, code: "BAD_TASK" });
      }),
    );
  });

  test("starts once: a second start changes nothing", () => {
    const actor = running()
      .clear()
      .send({ type: "start", task: spec({ trigger: "other" }) });
    expect(actor.sent).toEqual([]);
    expect(contextOf(actor).trigger).toBe("alert.blackscreen");
  });
});

test("a task ends in one final state with one report, and drives nothing without its lock, whatever happens to it", () => {
  const happening = fc.constantFrom(
    "done",
    "fail",
    "unknown",
    "bare",
    "boom",
    "stopped",
    "abort",
    "revoke",
    "release",
    "pause",
    "long",
    "refuse",
  );
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 25 }), fc.integer({ min: 0, max: 2 }), (happenings, retries) => {
      const actor = running({ steps: [step("a", { retries }), step("b", { retries })] });
      const isRunning = () => actor.invocations.includes("skill");
      const settle = (result: unknown) => (isRunning() ? actor.resolve(result) : actor);
      const acts: Record<string, () => unknown> = {
        done: () => settle(done),
        fail: () => settle({ status: "failed" }),
        unknown: () => settle({ status: "unknown" }),
        bare: () => settle({ status: "succeeded" }),
        boom: () => (isRunning() ? actor.reject(boom) : actor),
        stopped: () => (actor.invocations.includes("stop") ? stop(actor) : actor),
        abort: () => actor.send({ type: "abort", reason: "stop" }),
        revoke: () => actor.send(revoked, RESOURCE),
        release: () => actor.send(released, RESOURCE),
        refuse: () => actor.send({ type: "resource.refused", resource: LOCK, reason: "x" }, RESOURCE),
        pause: () => actor.advance(1_500),
        long: () => actor.advance(TIMEOUT_MS),
      };
      for (const name of happenings) {
        if (actor.isDone) break;
        acts[name]?.();
        if (actor.invocations.length > 0) expect(contextOf(actor).lock).not.toBeNull();
      }
      if (!actor.isDone) actor.send({ type: "abort", reason: "end" });
      if (actor.invocations.includes("stop")) stop(actor);
      if (!actor.isDone) actor.advance(RELEASE_WAIT_MS);
      expect(actor.isDone).toBe(true);
      expect(finished(actor)).toHaveLength(1);
      expect(actor.value).toBe(contextOf(actor).outcome);
      expect(actor.timers).toEqual({});
      expect(actor.invocations).toEqual([]);
      if (actor.value === "succeeded") expect(contextOf(actor).evidence.length).toBeGreaterThan(0);
    }),
    { numRuns: 200 },
  );
});
