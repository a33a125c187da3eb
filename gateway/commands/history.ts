/** `history`: what an actor took. Invariant: oldest first, one line each, nothing left out unsaid. */
import type { Command } from "commander";
import { toJson } from "../json.ts";
import { countArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";
import { shorten, table, timeText } from "./output.ts";

/** Inputs shown unless --limit says otherwise: a screen or two. */
const DEFAULT_LIMIT = 100;

/** An event without its type, as short JSON. */
function fieldsText(event: unknown): string {
  if (typeof event !== "object" || event === null) return shorten(toJson(event) ?? "");
  const { type: _, ...fields } = event as { readonly type?: unknown };
  const text = toJson(fields);
  return text === "{}" ? "" : shorten(text);
}

export function historyCommand(program: Command, deps: CliDeps): void {
  common(program.command("history").description("every input that an actor took"))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .option("--limit <count>", "the last so many inputs", countArgument, DEFAULT_LIMIT)
    .action(async (kind: string, id: string, { limit }: { limit: number }, command: Command) => {
      const context = new CommandContext(deps, command);
      const entries = await context.withClient((client) => client.history(kind, id));
      if (entries.length === 0) {
        throw new CliError(
          EXIT.notFound,
          `No history of ${kind}/${id}: no message reached it, or it is older than its kind keeps`,
        );
      }
      const shown = entries.slice(-limit);
      context.output.print({ kind, id, total: entries.length, entries: shown }, () => {
        const rows = shown.map((entry) => [
          entry.revision,
          timeText(entry.timeMs),
          entry.sender,
          entry.event.type,
          entry.poison === undefined ? fieldsText(entry.event) : `POISON: ${entry.poison}`,
        ]);
        const cut = entries.length > shown.length ? `… ${entries.length - shown.length} earlier: raise --limit\n` : "";
        return cut + table(["REVISION", "TIME", "SENDER", "EVENT", "FIELDS"], rows);
      });
    });
}
