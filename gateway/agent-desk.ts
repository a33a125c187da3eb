/**
 * Agent definitions as the routes see them: the registry, and the agents' actors that follow it. Invariant: what is
 * registered and newest is deployed; registering again repairs a deployment that was cut off, and wakes no retired agent.
 */
import { AgentRegistry, builtInSkills, type RegisteredAgent } from "../agents/index.ts";
import type { Client } from "../runtime/api.ts";
import { ActorNotFoundError } from "../runtime/errors.ts";
import { GatewayError } from "./errors.ts";
import { part, stateName } from "./fields.ts";

/** A deployment's whole call, in ms: a fail-over fits, and the answer leaves before the handler is given up. */
const DEPLOY_DEADLINE_MS = 8_000;

export interface AgentSummary {
  readonly id: string;
  readonly name: string;
  /** The newest one. */
  readonly version: string;
  readonly goal: unknown;
  readonly triggers: readonly unknown[];
  readonly pools: readonly string[];
  readonly maxParallelTasks: number;
  readonly registeredAtMs: number;
}

export interface AgentDetail extends AgentSummary {
  /** Newest first. */
  readonly versions: readonly string[];
  readonly definition: unknown;
}

export interface Registered {
  readonly id: string;
  readonly version: string;
  /** False: it was registered before, with the same content. */
  readonly created: boolean;
  /** The newest registered version: the one that the agent works by. An older one that is registered later only lies beside it. */
  readonly activeVersion: string;
}

export interface AgentDesk {
  list(): Promise<AgentSummary[]>;
  /** @throws {AgentNotFoundError} */
  get(id: string): Promise<AgentDetail>;
  /** @throws {DefinitionInvalidError} {@link VersionConflictError}: nothing changed. */
  register(text: string, signal: AbortSignal): Promise<Registered>;
}

export function agentDesk(client: Client): AgentDesk {
  const { broker, names } = client;
  const skills = new Map(builtInSkills.map((skill) => [skill.id, skill]));
  const registry = new AgentRegistry({ broker, names, skills });

  return {
    list: async () => (await registry.list()).map(summaryOf),

    get: async (id) => {
      const agent = await registry.get(id);
      const versions = (await registry.versions(id)).map(({ version }) => version);
      return { ...summaryOf(agent), versions, definition: agent.definition };
    },

    register: async (text, signal) => {
      const { id, version, plan, created } = await registry.register(text);
      const { version: activeVersion } = await registry.get(id);
      if (activeVersion === version && (created || (await isBehind(client, id, version, signal)))) {
        const options = { deadlineMs: DEPLOY_DEADLINE_MS, signal };
        const answer = part(
          await client.ask("agent", id, { type: "deploy", plan } as { readonly type: string }, options),
        );
        if (answer["ok"] === false) {
          throw new GatewayError(
            "NOT_DEPLOYED",
            `Agent "${id}" is registered, and its actor refuses the plan: ${String(answer["message"])}`,
          );
        }
      }
      return { id, version, created, activeVersion };
    },
  };
}

/** True if the agent's actor follows another version, or none, and was not retired. */
async function isBehind(client: Client, id: string, version: string, signal: AbortSignal): Promise<boolean> {
  try {
    const { value, context } = await client.query("agent", id, { deadlineMs: DEPLOY_DEADLINE_MS, signal });
    return stateName(value) !== "retired" && part(part(context)["plan"])["version"] !== version;
  } catch (error) {
    if (error instanceof ActorNotFoundError) return true;
    throw error;
  }
}

function summaryOf({ id, version, definition, registeredAtMs }: RegisteredAgent): AgentSummary {
  const { metadata, goal, triggers, config } = definition;
  return {
    id,
    name: metadata.name,
    version,
    goal,
    triggers: triggers.events,
    pools: triggers.event_pools,
    maxParallelTasks: config.max_parallel_tasks,
    registeredAtMs,
  };
}
