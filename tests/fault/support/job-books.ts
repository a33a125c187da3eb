/** What the system itself says that it did, read once all is quiet. Invariant: reads only. */
import type { ResourceContext } from "../../../actors/resource-state.ts";
import type { TaskContext } from "../../../actors/task-state.ts";
import type { AgentContext } from "../../../agents/agent-state.ts";
import type { Client } from "../../../runtime/api.ts";
import { ActorNotFoundError } from "../../../runtime/errors.ts";
import { until } from "./wait.ts";

const PAGE = 256;

export interface PoolRecord {
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface Books {
  readonly agent: AgentContext;
  /** Keys of the events that the agent was sent, repeats included. */
  readonly delivered: readonly string[];
  /** Tasks that told the agent of their end, repeats included. */
  readonly told: readonly string[];
  readonly tasks: readonly (TaskContext & { readonly value: unknown; readonly done: boolean })[];
  readonly locks: readonly ResourceContext[];
  /** Everything that actors announced. */
  readonly news: readonly PoolRecord[];
  readonly deadLetters: readonly unknown[];
}

const contextOf = async <T>(client: Client, kind: string, id: string): Promise<T | null> => {
  try {
    return (await client.query(kind, id)).context as T;
  } catch (error) {
    if (error instanceof ActorNotFoundError) return null;
    throw error;
  }
};

/** Waits until every key reached the agent, nothing runs or waits, and no lock is held. */
export async function untilQuiet(
  client: Client,
  agent: string,
  keys: ReadonlySet<string>,
  devices: readonly string[],
  deadlineMs: number,
): Promise<void> {
  let missing: unknown = "no answer";
  const look = async (): Promise<boolean> => {
    const context = await contextOf<AgentContext>(client, "agent", agent);
    const absent = [...keys].filter((key) => context?.seen.includes(key) !== true);
    missing = { absent, running: context?.running, waiting: context?.waiting };
    if (context === null || absent.length > 0 || context.running.length > 0 || context.waiting.length > 0) return false;
    const locks = await Promise.all(devices.map((id) => contextOf<ResourceContext>(client, "resource", id)));
    missing = locks.filter((lock) => lock !== null && (lock.holders.length > 0 || lock.queue.length > 0));
    return (missing as unknown[]).length === 0;
  };
  await until("quiet", deadlineMs, look).catch((error: unknown) => {
    throw new Error(`Not quiet: ${JSON.stringify(missing)}`, { cause: error });
  });
}

export async function readBooks(client: Client, agent: string, devices: readonly string[]): Promise<Books> {
  const context = await contextOf<AgentContext>(client, "agent", agent);
  if (context === null) throw new Error(`The agent "${agent}" has no state: nothing reached it`);
  const inputs = await client.history("agent", agent);
  const tasks = await Promise.all(
    (await client.list("task")).map(async ({ id }) => {
      const view = await client.query("task", id);
      return { ...(view.context as TaskContext), value: view.value, done: view.status === "done" };
    }),
  );
  const locks = await Promise.all(devices.map((id) => contextOf<ResourceContext>(client, "resource", id)));
  return {
    agent: context,
    delivered: inputs.flatMap(({ event }) => (event.type === "event" ? [keyOf(event["event"])] : [])),
    told: inputs.flatMap(({ event }) => (event.type === "task.finished" ? [String(event["task"])] : [])),
    tasks,
    locks: locks.filter((lock) => lock !== null),
    news: await readNews(client),
    deadLetters: await client.deadLetters(),
  };
}

const keyOf = (event: unknown): string => {
  const { source, id } = event as { source: string; id: string };
  return `${source}/${id}`;
};

export async function readNews({ broker, names }: Client): Promise<PoolRecord[]> {
  const news: PoolRecord[] = [];
  for (let fromSeq = 1; ; ) {
    const page = await broker.read(names.stream.pool, { subject: names.poolAll, fromSeq, limit: PAGE });
    for (const { data } of page) news.push(JSON.parse(Buffer.from(data).toString("utf8")) as PoolRecord);
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return news;
    fromSeq = last.seq + 1;
  }
}
