/** What the main job is in the fault tests: an agent's definition, a service that one of its steps calls, and the lab's hosts. */
import { agentKind, AgentRegistry, builtInSkills } from "../../../agents/index.ts";
import { LAB_HOSTS, type LabHost } from "../../../gateway/lab/hosts.ts";
import type { Client } from "../../../runtime/api.ts";
import type { Broker } from "../../../runtime/port.ts";
import { ALERT, CHECK } from "./job-load.ts";

export const AGENT = "main-job";
export const SERVICE = "settle";
/** How long the service works in the middle of each task, in ms: many of the kills land there. */
export const SERVICE_MS = 300;

const DEFINITION = `
metadata: { id: ${AGENT}, name: Main job, version: 1.0.0, author: tests, description: Recovers a device }
goal: { type: continuous, description: Every device shows a live picture }
triggers:
  events: [{ type: ${ALERT}, priority: critical }, { type: ${CHECK}, priority: normal }]
  event_pools: [shared.alerts, shared.events]
skills: [capture_screenshot, press_key, { id: settle, nats: ${SERVICE} }, analyse_frame]
permissions: { devices: [read, take_control] }
config: { max_parallel_tasks: 8, auto_retry: true, timeout_seconds: 50 }
playbook:
  - on: ${ALERT}
    device: event
    lock_ttl: 5s
    steps: &recover
      - { id: before, skill: capture_screenshot, timeout: 3s, retries: 3 }
      - { id: wake, skill: press_key, with: { key: HOME }, timeout: 3s, retries: 3 }
      - { id: settle, skill: settle, timeout: 3s, retries: 3 }
      - { id: verify, skill: analyse_frame, timeout: 3s, retries: 3 }
  - { on: ${CHECK}, device: event, lock_ttl: 5s, steps: *recover }
`;

/** Six devices on two hosts, as the lab has them. */
export const HOSTS: readonly LabHost[] = LAB_HOSTS.map((host) => ({
  name: host.name,
  devices: ["device1", "device2", "device3"].map((id, i) => ({ ...host.devices[i % host.devices.length]!, id })),
}));
export const DEVICES = HOSTS.flatMap((host) => host.devices.map(({ id }) => `${host.name}:${id}`));

/** Registers and deploys it, with locks of this length, which may be shorter than definitions may say. */
export async function deployJob(client: Client, broker: Broker, lockTtlMs: number): Promise<void> {
  const skills = new Map(builtInSkills.map((skill) => [skill.id, skill]));
  const { plan } = await new AgentRegistry({ broker, names: client.names, skills }).register(DEFINITION);
  const playbooks = plan.playbooks.map((playbook) => ({ ...playbook, lockTtlMs }));
  await client.ask(agentKind, AGENT, { type: "deploy", plan: { ...plan, playbooks } });
}
