/** The catalogue's agent at work on a real node: an alert leads to a task that drove the device and has evidence. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { leaseWriter, routerKind, systemKinds } from "../../actors/index.ts";
import type { LabEvent } from "../../actors/messages/event.ts";
import { routerId } from "../../actors/messages/router.ts";
import { agentKind } from "../../agents/agent.ts";
import type { AgentContext, EndedTask } from "../../agents/agent-state.ts";
import { AgentRegistry } from "../../agents/registry.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { Node } from "../../runtime/api.ts";
import { startNode } from "../../runtime/node.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const LAB_WATCHER = readFileSync(new URL("../../agents/catalogue/lab-watcher.yaml", import.meta.url), "utf8");
const ROUTER = routerId("shared.alerts");
/** A whole task, with its half second of waiting, on a busy machine, in ms. */
const TASK_DEADLINE_MS = 15_000;

const names = makeNames();
let server: TestServer;
let broker: Broker;
let node: Node;
const commands: { readonly command: string; readonly token: number; readonly device: string }[] = [];
const dark = new Set<string>();

/** Every device of host h1: black until HOME is pressed, if it is not broken. */
function drive(device: string, text: string): unknown {
  const { command, token } = JSON.parse(text) as { command: string; token: number };
  commands.push({ command, token, device });
  if (command === "capture_screenshot") return { ok: true, evidence: [{ kind: "screenshot", at: 1, ref: "shot.jpg" }] };
  if (command === "analyse_frame")
    return { ok: true, output: { blackscreen: dark.has(device), freeze: false, audio: null } };
  return { ok: true };
}

beforeAll(async () => {
  server = await startTestServer();
  broker = await connectBroker({ servers: server.url });
  broker.subscribe(names.deviceCommand("h1", "*"), (message) => {
    const answer = drive(message.subject.split(".")[2] ?? "", new TextDecoder().decode(message.data));
    if (message.reply !== undefined) broker.publish(message.reply, new TextEncoder().encode(JSON.stringify(answer)));
  });
  const skills = new SkillRegistry(builtInSkills, { broker, names });
  const { runSkill, stopSkill } = skills;
  node = await startNode({
    name: "n1",
    servers: server.url,
    kinds: [...systemKinds({ runSkill, stopSkill, writeLease: leaseWriter({ broker, names }) }), agentKind],
    verifyDeterminism: true,
  });
  const { id, plan } = await new AgentRegistry({ broker, names, skills: skills.facts }).register(LAB_WATCHER);
  expect(await node.client.ask(agentKind, id, { type: "deploy", plan })).toMatchObject({ ok: true, version: "1.0.0" });
});
afterAll(async () => {
  await node.stop();
  await broker.close();
  await server.stop();
});

const alert = (device: string, id: string, data: unknown = { status: "active" }): LabEvent => ({
  id,
  source: `device/h1/${device}`,
  type: "alert.blackscreen",
  timeMs: 1,
  priority: "critical",
  data,
  device: { host: "h1", device },
});

const agent = async () => (await node.client.query("agent", "lab-watcher")).context as AgentContext;

const route = (event: LabEvent) => node.client.ask(routerKind, ROUTER, { type: "route", event });
const eventually = <T>(look: () => Promise<T | undefined>): Promise<T> =>
  vi.waitFor(async () => (await look()) ?? expect.fail("not yet"), { timeout: TASK_DEADLINE_MS, interval: 20 });

/** The agent's record of the task that `event` started, once it ended. */
async function endOf(event: LabEvent): Promise<EndedTask> {
  // The subscription is a message of its own and may arrive after the first event.
  await expect.poll(() => route(event), { timeout: TASK_DEADLINE_MS }).toEqual({ agents: ["lab-watcher"] });
  const { task } = await eventually(async () => (await agent()).running.find((each) => each.event.id === event.id));
  return eventually(async () => (await agent()).recent.find((each) => each.task === task));
}

describe("lab-watcher", () => {
  test("lab-watcher brings a device back and ends with evidence, when an alert arrives, even twice", async () => {
    const event = alert("d1", "e1");
    const end = await endOf(event);
    expect(end).toMatchObject({ state: "succeeded", trigger: "alert.blackscreen" });
    const view = await node.client.query("task", end.task);
    expect(view).toMatchObject({
      value: "succeeded",
      context: { steps: ["before", "wake", "settle", "verify"].map((id) => ({ id, status: "succeeded" })) },
    });
    expect(commands.filter(({ device }) => device === "d1").map(({ command }) => command)).toEqual([
      "capture_screenshot",
      "press_key",
      "analyse_frame",
    ]);
    const { duplicates } = (await agent()).counts;
    await route(event);
    await expect
      .poll(async () => (await agent()).counts.duplicates, { timeout: TASK_DEADLINE_MS })
      .toBe(duplicates + 1);
    expect((await agent()).counts.started).toBe(1);
  });

  test("lab-watcher does nothing when the alert is resolved", async () => {
    const before = (await agent()).counts;
    await route(alert("d3", "e3", { status: "resolved" }));
    await expect
      .poll(async () => (await agent()).counts.ignored, { timeout: TASK_DEADLINE_MS })
      .toBe(before.ignored + 1);
    expect((await agent()).counts.started).toBe(before.started);
  });

  test("lab-watcher calls a device that stays dark failed, and gives its lock back", async () => {
    dark.add("d2");
    const end = await endOf(alert("d2", "e2"));
    expect(end).toMatchObject({ state: "failed", reason: expect.stringContaining("The screen is black") as string });
    await expect
      .poll(async () => (await node.client.query("resource", "h1:d2")).context, { timeout: TASK_DEADLINE_MS })
      .toMatchObject({ history: [{ reason: "released" }] });
  });
});
