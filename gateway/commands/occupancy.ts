/** `occupancy`: how resources were used, the most contended first; with a resource, who had it. Invariant: reads only. */
import type { Command } from "commander";
import { byContention, occupancyOf, timelineOf } from "../occupancy.ts";
import { countArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { spanText, table, timeText } from "./output.ts";
import { moreText, readActors } from "./ps.ts";

/** Locks compared unless --limit says otherwise. */
const DEFAULT_LIMIT = 500;

const span = (ms: number | null): string => (ms === null ? "-" : spanText(ms));
const share = (busy: number | null): string => (busy === null ? "-" : `${Math.round(100 * busy)} %`);

export function occupancyCommand(program: Command, deps: CliDeps): void {
  common(
    program.command("occupancy").description("how resources were used, the most contended first; with one, who had it"),
  )
    .argument("[resource]", "id of one resource, like sunri-pi1:device2")
    .option("--limit <count>", "resources compared at most", countArgument, DEFAULT_LIMIT)
    .action(async (resource: string | undefined, { limit }: { limit: number }, command: Command) => {
      const context = new CommandContext(deps, command);
      if (resource === undefined) await showAll(context, deps, limit);
      else await showOne(context, deps, resource);
    });
}

async function showAll(context: CommandContext, { clock }: CliDeps, limit: number): Promise<void> {
  const { total, actors } = await context.withClient((client) => readActors(client, "resource", limit));
  const nowMs = clock.now();
  const resources = actors
    .flatMap(({ view }) => (view === null ? [] : [occupancyOf(view, nowMs)]))
    .toSorted(byContention);
  context.output.print({ total, resources }, () => {
    if (total === 0) return "Nothing was ever locked";
    const rows = resources.map((each) => [
      ...[each.resource, each.grants, share(each.busy), each.waitingNow],
      ...[span(each.waitedMs), span(each.longestWaitMs), span(each.longestHoldMs)],
    ]);
    return (
      table(["RESOURCE", "GRANTS", "BUSY", "WAITING", "WAITED", "LONGEST WAIT", "LONGEST HOLD"], rows) +
      moreText(total, actors)
    );
  });
}

async function showOne(context: CommandContext, { clock }: CliDeps, resource: string): Promise<void> {
  const view = await context.withClient((client) => client.query("resource", resource));
  const nowMs = clock.now();
  const report = { ...occupancyOf(view, nowMs), timeline: timelineOf(view, nowMs) };
  context.output.print(report, ({ timeline }) => {
    const rows = timeline.map(({ token, holder, grantedAtMs, heldMs, waitedMs, reason, by, why }) => [
      ...[
        token ?? "-",
        holder ?? "-",
        grantedAtMs === null ? "-" : timeText(grantedAtMs),
        span(heldMs),
        span(waitedMs),
      ],
      `${reason ?? "lasts"}${by === null ? "" : ` by ${by}`}${why === null ? "" : `: ${why}`}`,
    ]);
    return table(["TOKEN", "HOLDER", "SINCE", "HELD", "WAITED", "ENDED"], rows);
  });
}
