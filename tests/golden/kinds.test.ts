/**
 * States of the system's kinds as the last code of each former version stored them (`kinds/<version>`, written once by that code
 * and never changed). Invariant: each is read by its declared migration, and its actor works on where it stood.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ALERT_POOL, DEVICE_OFFLINE } from "../../actors/messages/device.ts";
import { deviceKind, type DeviceContext, OFFLINE_ALERT_MS, STABLE_MS, SUSPECT_MS } from "../../actors/device.ts";
import { resourceActor } from "../../actors/resource.ts";
import type { ResourceContext } from "../../actors/resource-state.ts";
import { taskActor } from "../../actors/task.ts";
import type { TaskContext } from "../../actors/task-state.ts";
import type { ActorKind } from "../../runtime/define-actor.ts";
import { DrivenActor, START_MS } from "../support/machine.ts";

const nothing = () => Promise.reject(new Error("Driven by hand: nothing runs here"));
const LOCK = "sunri-pi1:device2";
const RESOURCE = `resource/${LOCK}`;

const restored = (kind: ActorKind, id: string, version: number, name = kind.kind): DrivenActor =>
  new DrivenActor(kind, id, readFileSync(new URL(`kinds/${version}/${name}.msgpack`, import.meta.url)));

describe("a lock of version 1, held, with two waiters", () => {
  const lock = () => restored(resourceActor({ writeLease: nothing }), LOCK, 1);
  const contextOf = (actor: DrivenActor) => actor.context as ResourceContext;
  const held = { holder: "task/held", token: 2, expiresAtMs: START_MS + 31_000 };

  test("keeps its holder, its token, its line and its past", () => {
    const actor = lock();
    expect(actor.value).toBe("held");
    expect(contextOf(actor)).toMatchObject({
      ...{ resource: LOCK, token: 2, capacity: 1, policy: "wait", closed: [], stopping: null, claim: null },
      holders: [held],
      queue: [
        { holder: "client/ops", priority: "critical", permits: 1 },
        { holder: "task/second", priority: "normal", permits: 1 },
      ],
      history: [
        { token: 1, holder: "task/first", reason: "released" },
        { token: 2, holder: "task/held", reason: null },
      ],
    });
  });

  test("obeys its holder alone, shows hosts the lease, and serves the line in its order with growing tokens", () => {
    const actor = lock();
    expect(actor.send({ type: "release", token: 2 }, "task/second").answer).toMatchObject({ code: "NOT_HOLDER" });
    expect(actor.send({ type: "release", token: 1 }, "task/held").answer).toMatchObject({ code: "STALE_TOKEN" });
    actor.clear().send({ type: "renew", token: 2 }, "task/held");
    expect(contextOf(actor).holders).toMatchObject([{ ...held, expiresAtMs: actor.timeMs + 30_000 }]);
    expect(actor.spawned).toMatchObject([{ child: "lease", input: { lease: { token: 2, grants: [{ token: 2 }] } } }]);
    actor.send({ type: "release", token: 2 }, "task/held");
    expect(contextOf(actor).holders).toMatchObject([{ holder: "client/ops", token: 3 }]);
    actor.send({ type: "release", token: 3, holder: "client/ops" });
    expect(contextOf(actor).holders).toMatchObject([{ holder: "task/second", token: 4 }]);
    expect(actor.sentTo("task/second")).toEqual(["resource.granted"]);
    expect(actor.send({ type: "release", token: 4 }, "task/second").value).toBe("free");
  });

  test("lets its holder's time run out by the timer that was stored, and grants the next", () => {
    const actor = lock();
    actor.advance(held.expiresAtMs - actor.timeMs - 1);
    expect(contextOf(actor).holders).toMatchObject([held]);
    actor.advance(1);
    expect(actor.sentTo("task/held")).toEqual(["resource.revoked"]);
    expect(contextOf(actor)).toMatchObject({
      holders: [{ holder: "client/ops", token: 3 }],
      history: [{ reason: "released" }, { reason: "expired", endedAtMs: held.expiresAtMs }, { reason: null }],
    });
  });

  test("can be taken over", () => {
    const actor = lock().send({ type: "takeover", by: "client/boss", why: "a fire", ttlMs: 1_000 });
    expect(actor.value).toBe("stopping");
    actor.send({ type: "stopped", token: 2 }, "task/held");
    expect(contextOf(actor).holders).toMatchObject([{ holder: "client/boss", token: 3 }]);
  });
});

describe.each([1, 2])("a task of version %i in its second step", (version) => {
  const task = () => restored(taskActor({ runSkill: nothing, stopSkill: nothing }), "t1", version);
  const contextOf = (actor: DrivenActor) => actor.context as TaskContext;
  const evidence = [{ kind: "frame", at: START_MS }];
  const released = { type: "resource.released", resource: LOCK, token: 7, reason: "released" };

  test("has its skill run on, renews its lock, and ends with the evidence of both steps", () => {
    const actor = task();
    expect(actor.value).toBe("running");
    expect(actor.invocations).toEqual(["skill"]);
    expect(contextOf(actor)).toMatchObject({
      lock: { resource: LOCK, token: 7 },
      pauseFor: null,
      steps: [{ status: "succeeded" }, { status: "running", attempt: 1 }],
    });
    expect(actor.advance(10_000).sentTo(RESOURCE)).toEqual(["renew"]);
    actor.resolve({ status: "succeeded", evidence }).send(released, RESOURCE);
    expect(actor.value).toBe("succeeded");
    expect(contextOf(actor).evidence).toHaveLength(2);
    expect(actor.sentTo("agent/qa-manager")).toEqual(["task.finished"]);
  });

  test("tries its step again when its time is up, under the same key", () => {
    const actor = task().advance(20_000).resolve(true, "stop").clear().advance(1_000);
    expect(actor.spawned).toMatchObject([{ child: "skill", input: { invocationId: "t1/after/1", token: 7 } }]);
  });

  test("pauses at its safe point, and confirms a takeover", () => {
    const pause = { type: "resource.pause", resource: LOCK, token: 7, by: "task/x", untilMs: START_MS + 60_000 };
    const paused = task().send(pause, RESOURCE).resolve({ status: "failed", message: "no signal" });
    expect(paused.value).toBe("acquiring");
    const taken = { type: "resource.revoked", resource: LOCK, token: 7, reason: "taken over", expiredAtMs: START_MS };
    const lost = task()
      .send({ ...taken, by: "client/ops", why: "a demo" }, RESOURCE)
      .resolve(true, "stop");
    expect(lost.value).toBe("failed");
    expect(lost.sentTo(RESOURCE)).toEqual(["stopped"]);
  });
});

describe("a device of version 1", () => {
  const contextOf = (actor: DrivenActor) => actor.context as DeviceContext;
  const alerts = (actor: DrivenActor) =>
    actor.published.filter(({ pool, event }) => pool === ALERT_POOL && event.type === DEVICE_OFFLINE);

  test("that was offline raises its alert when that was due, and closes it once it has stayed", () => {
    const actor = restored(deviceKind, LOCK, 1, "device-offline");
    expect(actor.value).toBe("offline");
    expect(contextOf(actor)).toMatchObject({ model: "android_tv", alertedAtMs: null, isHostDown: false });
    actor.advance(START_MS + 60_000 + OFFLINE_ALERT_MS - actor.timeMs);
    expect(alerts(actor)).toMatchObject([{ event: { data: { status: "active", device_id: "device2" } } }]);
    actor.clear().send({ type: "online", facts: {} }).advance(STABLE_MS);
    expect(alerts(actor)).toMatchObject([{ event: { data: { status: "resolved" } } }]);
    expect(contextOf(actor).counters).toMatchObject({ onlines: 2, offlines: 1, events: 1 });
  });

  test("that was online is suspect, then offline, when it falls silent", () => {
    const actor = restored(deviceKind, LOCK, 1, "device-online");
    expect(actor.send({ type: "silent" }).value).toBe("suspect");
    expect(actor.advance(SUSPECT_MS).value).toBe("offline");
    expect(actor.sentTo("host/sunri-pi1")).toEqual(["deviceAway"]);
  });
});
