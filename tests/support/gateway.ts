/**
 * The gateway on a client that remembers what it was asked. Invariant: only the far side is made up; routes, schemas and
 * errors are the real ones, and every answer is checked against the schema that the OpenAPI document shows for it.
 */
import { Ajv } from "ajv";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import pino from "pino";
import { expect } from "vitest";
import type { AgentDesk, Registered } from "../../gateway/agent-desk.ts";
import { buildServer } from "../../gateway/server.ts";
import { AgentNotFoundError } from "../../agents/errors.ts";
import { parseDefinition } from "../../agents/definition.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { ActorView, Client, DeadLetter, HistoryEntry, NodeInfo } from "../../runtime/api.ts";
import { systemClock } from "../../runtime/clock.ts";
import { ActorNotFoundError, LetterNotFoundError } from "../../runtime/errors.ts";
import { keyOf } from "../../runtime/address.ts";
import type { AppendOptions, Broker, BrokerStatus } from "../../runtime/port.ts";

export interface Appended {
  readonly subject: string;
  readonly body: unknown;
  readonly messageId: string | undefined;
}

/** The far side: actors by key, and a list of all calls. */
export class FarSide {
  readonly actors = new Map<string, ActorView>();
  /** What actors answer, by `kind/id`; what they were asked. */
  readonly replies = new Map<string, unknown>();
  readonly asked: { readonly to: string; readonly event: object }[] = [];
  readonly histories = new Map<string, HistoryEntry[]>();
  readonly letters: DeadLetter[] = [];
  readonly appended: Appended[] = [];
  readonly calls: string[] = [];
  readonly registered: string[] = [];
  nodes: NodeInfo[] = [nodeInfo("n1")];
  /** What nodes were asked for. */
  readonly filters: unknown[] = [];
  /** Queries that took what may be stale. */
  staleAllowed = 0;
  status: BrokerStatus = "connected";
  /** Queries are answered after it. */
  held: Promise<void> = Promise.resolve();
  /** Thrown instead of an answer, by call. */
  readonly faults = new Map<string, () => Error>();

  add(kind: string, id: string, value: unknown, context: unknown, more: Partial<ActorView> = {}): this {
    const view: ActorView = {
      kind,
      id,
      status: "active",
      value,
      context,
      revision: 3,
      version: 1,
      node: "n1",
      updatedAtMs: 1_700_000_000_000,
      ...more,
    };
    this.actors.set(keyOf(kind, id), view);
    return this;
  }

  #call(what: string): void {
    this.calls.push(what);
    const fault = this.faults.get(what) ?? this.faults.get(what.split(" ", 1)[0] ?? "");
    if (fault !== undefined) throw fault();
  }

  readonly #broker = (): Pick<Broker, "status" | "append"> => {
    const status = () => this.status;
    return {
      get status() {
        return status();
      },
      append: async (subject: string, data: Uint8Array, options?: AppendOptions) => {
        this.#call(`append ${subject}`);
        const before = this.appended.findIndex(({ messageId }) => messageId === options?.messageId);
        if (before >= 0) return before + 1;
        return this.appended.push({
          subject,
          body: JSON.parse(Buffer.from(data).toString()),
          messageId: options?.messageId,
        });
      },
    };
  };

  readonly client = (): Client => {
    const made: Pick<
      Client,
      | "names"
      | "broker"
      | "ask"
      | "query"
      | "list"
      | "recent"
      | "nodes"
      | "history"
      | "deadLetters"
      | "deadLetter"
      | "retryDeadLetter"
      | "skipDeadLetter"
      | "resume"
    > = {
      names: makeNames(),
      // The gateway uses no more of the broker than this.
      broker: this.#broker() as Broker,
      ask: async (kindOf, id, event) => {
        const to = keyOf(typeof kindOf === "string" ? kindOf : kindOf.kind, id);
        this.#call(`ask ${to}`);
        this.asked.push({ to, event });
        return this.replies.get(to) ?? { ok: true };
      },
      query: async (kindOf, id, options) => {
        const kind = typeof kindOf === "string" ? kindOf : kindOf.kind;
        if (options?.allowStale === true) this.staleAllowed++;
        this.#call(`query ${kind}/${id}`);
        await this.held;
        const view = this.actors.get(keyOf(kind, id));
        if (view === undefined) throw new ActorNotFoundError(`Nothing is known of "${kind}/${id}"`);
        return view;
      },
      list: async (kind) => {
        this.#call(`list ${kind}`);
        return [...this.actors.values()]
          .filter((view) => view.kind === kind)
          .map(({ id }) => ({ kind, id, node: "n1" }));
      },
      recent: async (kind, { limit, cursor }) => {
        this.#call(`recent ${kind}`);
        const newest = [...this.actors.values()]
          .filter((view) => view.kind === kind)
          .sort((a, b) => b.updatedAtMs - a.updatedAtMs || (a.id < b.id ? -1 : 1))
          .map(({ id, updatedAtMs }) => ({ kind, id, node: null, cursor: `c${updatedAtMs}:${id}` }));
        const from = newest.findIndex((actor) => actor.cursor === cursor) + 1;
        return newest.slice(from, from + limit);
      },
      nodes: async (filter) => {
        this.#call("nodes");
        this.filters.push(filter);
        return this.nodes;
      },
      history: async (kind, id) => {
        this.#call(`history ${kind}/${id}`);
        return this.histories.get(keyOf(kind, id)) ?? [];
      },
      deadLetters: async ({ limit = 0 } = {}) => {
        this.#call(`dead ${limit}`);
        return this.letters;
      },
      deadLetter: async (seq) => {
        const found = this.letters.find((letter) => letter.seq === seq);
        if (found === undefined) throw new LetterNotFoundError(`There is no dead letter ${seq}`);
        return found;
      },
      retryDeadLetter: async (seq, { by, why, event }) => {
        this.#call(`retry ${seq} ${by} ${why} ${event?.type ?? "-"}`);
        return { n: 1 };
      },
      skipDeadLetter: async (seq, { by, why }) => this.#call(`skip ${seq} ${by} ${why}`),
      resume: async (kind, id, { by, why }) =>
        this.#call(`resume ${typeof kind === "string" ? kind : kind.kind}/${id} ${by} ${why}`),
    };
    return made as Client; // the routes send no events to actors: what they must not use is not there
  };

  readonly desk = (): AgentDesk => ({
    list: async () => this.registered.map((id) => summary(id)),
    get: async (id) => {
      this.#call(`desk ${id}`);
      if (!this.registered.includes(id)) throw new AgentNotFoundError(id);
      return { ...summary(id), versions: ["1.0.0"], definition: { metadata: { id } } };
    },
    register: async (text): Promise<Registered> => {
      const { id, version } = parseDefinition(text).metadata;
      this.#call("register");
      const created = !this.registered.includes(id);
      if (created) this.registered.push(id);
      return { id, version, created, activeVersion: version };
    },
  });
}

const summary = (id: string) => ({
  id,
  name: id,
  version: "1.0.0",
  goal: { type: "continuous" },
  triggers: [],
  pools: ["shared.alerts"],
  maxParallelTasks: 1,
  registeredAtMs: 1_700_000_000_000,
});

export const nodeInfo = (name: string): NodeInfo => ({
  name,
  incarnation: "i1",
  pid: 1,
  host: "h",
  version: "0.1.0",
  kinds: ["task", "resource", "reservation", "agent", "device"],
  labels: {},
  roles: ["WORKER"],
  weight: 1,
  state: "alive",
  health: null,
  startedAtMs: 1_700_000_000_000,
  shards: [0, 1],
  activations: 1,
  queued: 0,
  rounds: 1,
  inputs: 1,
  memoryBytes: 1,
  refusal: null,
});

export interface Door {
  readonly app: FastifyInstance;
  readonly far: FarSide;
  /** Sends a request and checks the form of its answer. */
  readonly send: (request: InjectOptions) => Promise<LightMyRequestResponse>;
}

export async function openDoor(
  options: { readonly host?: string; readonly hostNames?: readonly string[] } = {},
): Promise<Door> {
  const far = new FarSide();
  const app = await buildServer({
    client: far.client(),
    desk: far.desk(),
    clock: systemClock,
    log: pino({ level: "silent" }),
    host: "127.0.0.1",
    version: "0.1.0",
    ...options,
  });
  const check = answerCheck(app);
  return {
    app,
    far,
    send: async (request) => {
      const answer = await app.inject(request);
      check(request, answer);
      return answer;
    },
  };
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}
interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

/** Every answer has the content type and the form that the document shows. */
function answerCheck(app: FastifyInstance) {
  // The plugin's type is that of every OpenAPI version at once.
  const document = app.swagger() as unknown as OpenApi;
  const ajv = new Ajv({ strict: false, allErrors: true });
  const forms = Object.entries(document.paths).map(([path, operations]) => ({
    matches: new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
    operations,
  }));
  return (request: InjectOptions, answer: LightMyRequestResponse): void => {
    const type = String(answer.headers["content-type"] ?? "").split(";", 1)[0] ?? "";
    if (answer.statusCode >= 400) expect(type).toBe("application/problem+json");
    const path = (typeof request.url === "string" ? request.url : "").split("?", 1)[0] ?? "";
    const operation = forms.find(({ matches }) => matches.test(path))?.operations[
      (request.method ?? "GET").toLowerCase()
    ];
    if (operation === undefined || request.method === "HEAD") return;
    const schema = operation.responses[answer.statusCode]?.content?.[type]?.schema;
    if (schema === undefined)
      throw new Error(`${request.method ?? "GET"} ${path}: ${answer.statusCode} ${type} is not in the document`);
    const validate = ajv.compile({ ...schema, components: document.components });
    if (!validate(answer.json())) throw new Error(`${path}: ${ajv.errorsText(validate.errors)} in ${answer.body}`);
  };
}
