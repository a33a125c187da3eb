/** `locks`: who holds what, under which token, and who waits. Invariant: it shows what the lock's actor says, nothing derived from elsewhere. */
import type { Command } from "commander";
import type { ResourceContext } from "../../actors/resource-state.ts";
import type { ActorView } from "../../runtime/api.ts";
import { strayLocks } from "../stray-locks.ts";
import { countArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { moreText, readActors } from "./ps.ts";
import { spanText, stateText, table } from "./output.ts";

export const RESOURCE_KIND = "resource";
/** Locks read at most unless --limit says otherwise: a lab of hundreds of devices fits. */
const DEFAULT_LIMIT = 500;

export interface LockRow {
  readonly resource: string;
  readonly state: string;
  /** The first of those that hold: the only one, unless it is a counted resource. */
  readonly holder: string | null;
  /** The holder's fencing token; null while nobody holds it. */
  readonly token: number | null;
  readonly expiresAtMs: number | null;
  /** All that hold. */
  readonly holders: readonly { readonly holder: string; readonly token: number; readonly permits: number }[];
  readonly capacity: number;
  /** Why nobody is granted just now. */
  readonly closed: readonly string[];
  readonly queue: readonly { readonly holder: string; readonly priority: string }[];
}

/** Reads a lock from its actor's state. */
export function lockOf(view: ActorView): LockRow {
  // The kind defines its context; a view carries it untyped over the wire.
  const { holders, capacity, closed, queue } = view.context as ResourceContext;
  const [first] = holders;
  return {
    resource: view.id,
    state: stateText(view.value),
    holder: first?.holder ?? null,
    token: first?.token ?? null,
    expiresAtMs: first?.expiresAtMs ?? null,
    holders: holders.map(({ holder, token, permits }) => ({ holder, token, permits })),
    capacity,
    closed: closed.map(({ reason }) => reason),
    queue: queue.map((waiter) => ({ holder: waiter.holder, priority: waiter.priority })),
  };
}

const sized = (name: string, permits: number): string => (permits === 1 ? name : `${name} ×${permits}`);

function stateCell({ state, closed, capacity, holders }: LockRow): string {
  const word = closed.length > 0 ? closed.join(", ") : state;
  const used = holders.reduce((sum, { permits }) => sum + permits, 0);
  return capacity === 1 ? word : `${word}, ${used} of ${capacity}`;
}

export function locksCommand(program: Command, deps: CliDeps): void {
  common(program.command("locks").description("locks: holder, fencing token, queue"))
    .option("--limit <count>", "locks shown at most", countArgument, DEFAULT_LIMIT)
    .option("--all", "also free locks of devices that nobody ever heard of")
    .action(async ({ limit, all }: { limit: number; all?: boolean }, command: Command) => {
      const context = new CommandContext(deps, command);
      const { total, actors, strays } = await context.withClient(async (client) => {
        const read = await readActors(client, RESOURCE_KIND, limit);
        const isStray = all === true ? () => false : await strayLocks(client);
        const shown = read.actors.filter(({ view }) => view === null || !isStray(view));
        const left = read.actors.length - shown.length;
        return { total: read.total - left, actors: shown, strays: left };
      });
      const locks = actors.flatMap(({ view }) => (view === null ? [] : [lockOf(view)]));
      const unreadable = actors.flatMap(({ id, view, error }) =>
        view === null ? [{ resource: id, error: error ?? "unknown" }] : [],
      );
      context.output.print({ total, strays, locks, unreadable }, () => {
        const hidden = strays === 0 ? "" : `… ${strays} free locks of unknown devices: show them with --all\n`;
        if (total === 0) return hidden || "Nothing was ever locked";
        const rows = locks.map((lock) => [
          lock.resource,
          stateCell(lock),
          lock.holders.map(({ holder, permits }) => sized(holder, permits)).join(", ") || "-",
          lock.holders.length > 1 ? lock.holders.map(({ token }) => token).join(", ") : (lock.token ?? "-"),
          lock.expiresAtMs === null ? "-" : spanText(lock.expiresAtMs - deps.clock.now()),
          lock.queue.map((ticket) => `${ticket.holder} (${ticket.priority})`).join(", ") || "-",
        ]);
        const broken = unreadable.map(({ resource, error }) => [resource, `? ${error}`, "-", "-", "-", "-"]);
        return (
          table(["RESOURCE", "STATE", "HOLDER", "TOKEN", "ENDS IN", "QUEUE"], [...rows, ...broken]) +
          moreText(total, actors) +
          hidden
        );
      });
    });
}
