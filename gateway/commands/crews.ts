/** `crews`: what waits, who does it, who could. Invariant: it shows what the crew's actor says and where the nodes say that workers are. */
import type { Command } from "commander";
import { CREW_KIND, type Need } from "../../actors/messages/crew.ts";
import { type CrewRow, crewOf, placesOf } from "../crews.ts";
import { countArgument, needArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { moreText, readActors } from "./ps.ts";
import { spanText, table } from "./output.ts";

/** Crews read at most unless --limit says otherwise. */
const DEFAULT_LIMIT = 100;

export function crewsCommand(program: Command, deps: CliDeps): void {
  common(program.command("crews").description("crews: what waits, their workers, what these can do and where they are"))
    .option("--can <need>", "only workers that can do this, as scan or scan@^1.2.0, and their crews", needArgument)
    .option("--limit <count>", "crews shown at most", countArgument, DEFAULT_LIMIT)
    .action(async ({ can, limit }: { can?: Need; limit: number }, command: Command) => {
      const context = new CommandContext(deps, command);
      const { total, actors, places } = await context.withClient(async (client) => {
        const read = await readActors(client, CREW_KIND, limit);
        const views = read.actors.flatMap(({ view }) => (view === null ? [] : [view]));
        return { ...read, places: await placesOf(client, views) };
      });
      const needs = can === undefined ? [] : [can];
      const crews = actors
        .flatMap(({ view }) => (view === null ? [] : [crewOf(view, places, needs, deps.clock.now())]))
        .filter(({ workers }) => can === undefined || workers.length > 0);
      const unreadable = actors.flatMap(({ id, view, error }) =>
        view === null ? [{ crew: id, error: error ?? "unknown" }] : [],
      );
      context.output.print({ total, crews, unreadable }, () => {
        if (total === 0) return "There is no crew: declare one with `troupe ask crew <name> declare`";
        const broken = unreadable.map(({ crew, error }) => [crew, `? ${error}`, ...Array<string>(8).fill("-")]);
        const rows = [...crews.map(crewCells), ...broken];
        const problems = crews.flatMap(({ id, problem }) => (problem === null ? [] : [`\n${id}: ${problem}`]));
        const workers = table(WORKER_HEADERS, crews.flatMap(workerCells));
        return `${table(CREW_HEADERS, rows)}${moreText(total, actors)}\n${workers}${problems.join("")}`;
      });
    });
}

const CREW_HEADERS = [
  "CREW",
  "STATE",
  "BALANCE",
  "ASSIGNMENT",
  "WORKERS",
  "RUNNING",
  "QUEUED",
  "UNFIT",
  "OLDEST",
  "LAST CHANGE",
];
const WORKER_HEADERS = ["WORKER", "STATE", "RUNNING", "CAN", "NODE"];

function crewCells(crew: CrewRow): (string | number)[] {
  const last = crew.decisions.at(-1);
  return [
    crew.id,
    crew.state,
    crew.balance ?? "-",
    crew.assignment ?? "-",
    `${crew.workers.length} (${crew.min ?? "-"} to ${crew.max ?? "-"})`,
    crew.running,
    crew.queued,
    crew.unfit.total,
    crew.oldestWaitMs === null ? "-" : spanText(crew.oldestWaitMs),
    last === undefined ? "-" : `${last.from} to ${last.to}: ${last.reason}`,
  ];
}

const workerCells = ({ workers }: CrewRow): (string | number)[][] =>
  workers.map(({ id, state, running, slots, capabilities, node }) => [
    id,
    state,
    `${running} of ${slots}`,
    capabilities.map(({ name, version }) => `${name}@${version}`).join(", ") || "-",
    node ?? "-",
  ]);
