/**
 * The store of agent definitions. Invariant: a version never changes: the first content that is stored under
 * `(id, version)` stands for ever, whoever races for it.
 */
import type { AgentPlan } from "../actors/messages/agent.ts";
import type { Names } from "../nats-config/subjects.ts";
import { sizeOf } from "../runtime/codec.ts";
import { BrokerUnavailableError, CorruptRecordError, RevisionConflictError } from "../runtime/errors.ts";
import type { Broker, StoredMessage } from "../runtime/port.ts";
import { type AgentDefinition, parseDefinition, type SkillFacts } from "./definition.ts";
import { ID_FORM } from "./definition-schema.ts";
import { AgentNotFoundError, DefinitionInvalidError, VersionConflictError } from "./errors.ts";
import { planOf } from "./plan.ts";
import { decodeFields, encodeJson } from "./skill-result.ts";
import { compareVersions, parseVersion } from "../actors/version.ts";

/** Versions of all agents that one listing reads at most. */
export const REGISTRY_LIST_LIMIT = 5_000;

/** Largest plan, in bytes as they are stored: the agent keeps it in one state beside what waits. */
export const MAX_PLAN_BYTES = 96 * 1_024;

export interface RegisteredAgent {
  readonly id: string;
  readonly version: string;
  readonly definition: AgentDefinition;
  /** The text as it was registered, for export. */
  readonly source: string;
  /** When it was first registered, in ms since 1970. */
  readonly registeredAtMs: number;
}

export interface Registration {
  readonly id: string;
  readonly version: string;
  readonly definition: AgentDefinition;
  readonly plan: AgentPlan;
  /** False if the same content was there already. */
  readonly created: boolean;
}

export interface RegistryDeps {
  readonly broker: Broker;
  readonly names: Names;
  /** Skills that exist in code: definitions are checked against them. */
  readonly skills: ReadonlyMap<string, SkillFacts>;
}

interface Found {
  readonly seq: number;
  readonly agent: RegisteredAgent | null;
}

export class AgentRegistry {
  readonly #deps: RegistryDeps;

  constructor(deps: RegistryDeps) {
    this.#deps = deps;
  }

  /**
   * Checks a definition without storing it.
   * @throws {DefinitionInvalidError} With every problem.
   */
  check(source: string): AgentDefinition {
    const definition = parseDefinition(source, { skills: this.#deps.skills });
    const bytes = sizeOf(this.planOf(definition), "The plan");
    if (bytes <= MAX_PLAN_BYTES) return definition;
    const message = `The plan of this definition takes ${bytes} bytes, more than ${MAX_PLAN_BYTES}`;
    throw new DefinitionInvalidError([
      {
        path: "playbook",
        line: 1,
        column: 1,
        message,
        hint: "Split the agent in two, or pass references instead of data",
      },
    ]);
  }

  /**
   * Stores a definition. The same content again changes nothing.
   * @throws {DefinitionInvalidError} Nothing was stored.
   * @throws {VersionConflictError} The version is taken by other content. Nothing was stored.
   * @throws {BrokerUnavailableError} Unknown whether it was stored: register it again.
   */
  async register(source: string): Promise<Registration> {
    const definition = this.check(source);
    const { id, version } = definition.metadata;
    const before = await this.#find(id, version);
    const created = before.agent === null && (await this.#store(definition, source, before.seq));
    const stands = created ? definition : (before.agent ?? (await this.#find(id, version)).agent)?.definition;
    if (stands !== undefined && contentOf(stands) !== contentOf(definition))
      throw new VersionConflictError(id, version);
    return { id, version, definition, plan: this.planOf(definition), created };
  }

  planOf(definition: AgentDefinition): AgentPlan {
    return planOf(definition, this.#deps.skills);
  }

  /**
   * One agent, in its latest version unless another is named.
   * @throws {AgentNotFoundError} It is not registered.
   */
  async get(id: string, version?: string): Promise<RegisteredAgent> {
    // Both stand in a key: what cannot be registered cannot be asked for either.
    if (!ID.test(id) || (version !== undefined && parseVersion(version) === null))
      throw new AgentNotFoundError(id, version);
    const agent = version === undefined ? (await this.versions(id))[0] : (await this.#find(id, version)).agent;
    if (agent === undefined || agent === null) throw new AgentNotFoundError(id, version);
    return agent;
  }

  /** All versions of an agent, latest first; previews after all releases. */
  async versions(id: string): Promise<RegisteredAgent[]> {
    if (!ID.test(id)) return [];
    return (await this.#read(`${id}.*`)).sort(latestFirst);
  }

  /** The latest version of every agent, by id. */
  async list(): Promise<RegisteredAgent[]> {
    const latest = new Map<string, RegisteredAgent>();
    for (const agent of await this.#read("*.*")) {
      const other = latest.get(agent.id);
      if (other === undefined || latestFirst(agent, other) < 0) latest.set(agent.id, agent);
    }
    return [...latest.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async #read(keys: string): Promise<RegisteredAgent[]> {
    const { broker, names } = this.#deps;
    const messages = await broker.readLast(names.kv.agents.stream, names.kv.agents.key(keys), REGISTRY_LIST_LIMIT);
    return messages.map(readRecord).filter((agent) => agent !== null);
  }

  async #find(id: string, version: string): Promise<Found> {
    const { broker, names } = this.#deps;
    const message = await broker.getLast(names.kv.agents.stream, names.kv.agents.key(keyOf(id, version)));
    return message === null ? { seq: 0, agent: null } : { seq: message.seq, agent: readRecord(message) };
  }

  /** True if this call stored it; false if somebody else was first, or an earlier attempt of ours. */
  async #store(definition: AgentDefinition, source: string, expectedLastSubjectSeq: number): Promise<boolean> {
    const { broker, names } = this.#deps;
    const { id, version } = definition.metadata;
    try {
      await broker.append(names.kv.agents.key(keyOf(id, version)), encodeJson({ definition, source }), {
        expectedLastSubjectSeq,
      });
      return true;
    } catch (error) {
      if (error instanceof RevisionConflictError) return false;
      // The outcome is unknown: if the record is there now, it decides.
      if (error instanceof BrokerUnavailableError && (await this.#find(id, version)).agent !== null) return false;
      throw error;
    }
  }
}

const ID = ID_FORM.pattern;
/** Dots divide keys, and versions hold no underscore: so the key can be read back. */
const keyOf = (id: string, version: string): string => `${id}.${version.replaceAll(".", "_")}`;

function latestFirst(a: RegisteredAgent, b: RegisteredAgent): number {
  const [x, y] = [parseVersion(a.version), parseVersion(b.version)];
  if (x === null || y === null) return 0;
  const preview = Number(x.prerelease.length > 0) - Number(y.prerelease.length > 0);
  return preview === 0 ? compareVersions(y, x) : preview;
}

/** The record of a message; null for a deleted one. */
function readRecord(message: StoredMessage): RegisteredAgent | null {
  if (message.header("KV-Operation") !== undefined) return null;
  const fields = decodeFields(message.data);
  const source = fields?.["source"];
  const definition = fields?.["definition"] as AgentDefinition | undefined;
  if (typeof source !== "string" || typeof definition?.metadata?.id !== "string") {
    throw new CorruptRecordError(
      `The record "${message.subject}" is no agent definition: delete the key, and register the agent again`,
    );
  }
  const { id, version } = definition.metadata;
  return { id, version, definition, source, registeredAtMs: message.timeMs };
}

/** The content as text that does not depend on how the author ordered keys or commented. */
function contentOf(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
