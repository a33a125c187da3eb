/** `ps`: who is up and what lives there. Invariant: reads only; what cannot be read just now is shown as such. */
import type { Command } from "commander";
import type { ActorView, Client, ListedActor, NodeInfo } from "../../runtime/api.ts";
import { ActorNotFoundError, UnknownKindError } from "../../runtime/errors.ts";
import { LIST_LIMIT } from "../../runtime/limits.ts";
import type { Clock } from "../../runtime/clock.ts";
import { countArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { messageOf } from "./exit.ts";
import { spanText, stateText, table, timeText } from "./output.ts";

/** Actors whose state is looked up unless --limit says otherwise: each is one query. */
const DEFAULT_LIMIT = 100;
/** Queries in flight at once: enough to be quick, too few to be felt by a node. */
const CONCURRENCY = 16;

interface KindCount {
  readonly kind: string;
  readonly actors: number;
  readonly inMemory: number;
}

export interface ActorRow extends ListedActor {
  /** Null: it could not be read, `error` says why. */
  readonly view: ActorView | null;
  readonly error?: string;
}

/** Reads the states of the actors of a kind, `limit` at most: in order of their ids, or last changed first. */
export async function readActors(
  client: Client,
  kind: string,
  limit: number,
  order: "id" | "recent" = "id",
): Promise<{ total: number; actors: ActorRow[] }> {
  const listed = await client.list(kind); // by id
  const recent = order === "id" ? listed.slice(0, limit) : await client.recent(kind, { limit });
  const chosen = recent.map(({ id, node }) => ({ kind, id, node }));
  const rows: ActorRow[] = [];
  for (let from = 0; from < chosen.length; from += CONCURRENCY) {
    const part = chosen.slice(from, from + CONCURRENCY);
    rows.push(...(await Promise.all(part.map((actor) => readActor(client, actor)))));
  }
  // One may have come between the two looks.
  return { total: Math.max(listed.length, rows.length), actors: rows };
}

/** What a list leaves out, as its last line. A listing itself ends at {@link LIST_LIMIT}. */
export function moreText(total: number, shown: readonly unknown[]): string {
  if (total <= shown.length) return "";
  return `… ${total >= LIST_LIMIT ? "at least " : ""}${total - shown.length} more: raise --limit\n`;
}

async function readActor(client: Client, actor: ListedActor): Promise<ActorRow> {
  try {
    return { ...actor, view: await client.query(actor.kind, actor.id) };
  } catch (error) {
    return { ...actor, view: null, error: error instanceof ActorNotFoundError ? "gone" : messageOf(error) };
  }
}

async function countKinds(client: Client, nodes: readonly NodeInfo[]): Promise<KindCount[]> {
  const kinds = [...new Set(nodes.flatMap((node) => node.kinds))].toSorted();
  return await Promise.all(
    kinds.map(async (kind) => {
      const actors = await client.list(kind);
      return { kind, actors: actors.length, inMemory: actors.filter((actor) => actor.node !== null).length };
    }),
  );
}

export function psCommand(program: Command, deps: CliDeps): void {
  common(
    program.command("ps").description("nodes and kinds; with a kind, its actors and their states, last changed first"),
  )
    .argument("[kind]", "kind of actors to list")
    .option("--limit <count>", "actors shown at most", countArgument, DEFAULT_LIMIT)
    .action(async (kind: string | undefined, { limit }: { limit: number }, command: Command) => {
      const context = new CommandContext(deps, command);
      if (kind === undefined) await showCluster(context, deps.clock);
      else await showKind(context, kind, limit);
    });
}

async function showCluster(context: CommandContext, clock: Clock): Promise<void> {
  const report = await context.withClient(async (client) => {
    const nodes = await client.nodes();
    return { nodes, kinds: await countKinds(client, nodes) };
  });
  context.output.print(report, ({ nodes, kinds }) => {
    if (nodes.length === 0) return "No node is up: start one with `troupe node`, or all with `troupe dev`";
    const nodeRows = nodes.map((node) => [
      node.name,
      node.host,
      node.pid,
      node.startedAtMs === null ? node.state : spanText(clock.now() - node.startedAtMs),
      node.shards?.length ?? "-",
      node.activations ?? "-",
      node.queued ?? "-",
      node.inputs ?? "-",
      node.memoryBytes === null ? "-" : `${Math.round(node.memoryBytes / 1e6)} MB`,
    ]);
    const kindRows = kinds.map((row) => [row.kind, row.actors, row.inMemory]);
    return `${table(["NODE", "HOST", "PID", "UP", "SHARDS", "ACTORS", "QUEUED", "INPUTS", "MEMORY"], nodeRows)}\n${table(["KIND", "ACTORS", "IN MEMORY"], kindRows)}`;
  });
}

async function showKind(context: CommandContext, kind: string, limit: number): Promise<void> {
  const report = await context.withClient(async (client) => {
    const found = await readActors(client, kind, limit, "recent");
    if (found.total === 0) {
      const known = [...new Set((await client.nodes()).flatMap((node) => node.kinds))];
      if (known.length > 0 && !known.includes(kind)) throw new UnknownKindError(kind, known);
    }
    return { kind, ...found };
  });
  context.output.print(report, ({ total, actors }) => {
    if (total === 0) return `No actor of the kind "${kind}" exists`;
    const rows = actors.map(({ id, node, view, error }) => [
      id,
      view === null ? `? ${error ?? ""}` : stateText(view.value),
      view?.status ?? "-",
      view?.revision ?? "-",
      view?.node ?? node ?? "-",
      view === null ? "-" : timeText(view.updatedAtMs),
    ]);
    return table(["ID", "STATE", "STATUS", "REVISION", "NODE", "CHANGED"], rows) + moreText(total, actors);
  });
}
