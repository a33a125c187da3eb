/**
 * `dead` and `resume`: messages that no actor could take, and what an operator does about them. Invariant: whoever changes something
 * says why, and is named.
 */
import type { Command } from "commander";
import type { Audit, DeadLetter } from "../../runtime/api.ts";
import { isObject, type JsonObject } from "../json.ts";
import { countArgument, fieldsArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { pretty, table, timeText } from "./output.ts";

/** Dead letters shown unless --limit says otherwise: a screen or two. */
const DEFAULT_LIMIT = 100;

interface WhoAndWhy {
  readonly by?: string;
  readonly why: string;
}

const typeOf = (event: unknown): string => (isObject(event) && typeof event["type"] === "string" ? event["type"] : "?");

const fateOf = ({ mark }: DeadLetter): string => (mark === undefined ? "" : `${mark.verb} by ${mark.by}`);

function lettersText(letters: readonly DeadLetter[]): string {
  if (letters.length === 0) return "No dead letters";
  const rows = letters.map((letter) => [
    letter.seq,
    timeText(letter.timeMs),
    letter.reason,
    `${letter.kind}/${letter.id}`,
    typeOf(letter.event),
    letter.sender,
    fateOf(letter),
    letter.cause,
  ]);
  return table(["SEQ", "TIME", "REASON", "ACTOR", "EVENT", "FROM", "DONE", "CAUSE"], rows);
}

export function deadCommands(program: Command, deps: CliDeps): void {
  const dead = common(program.command("dead").description("dead letters: messages that no actor could take, and why"));
  listing(dead, deps);
  listing(common(dead.command("list").description("the last dead letters, oldest first")), deps);
  common(dead.command("show").description("one dead letter whole, with the state that was replaced"))
    .argument("<seq>", "number of the letter", countArgument)
    .action(async (seq: number, _options: object, command: Command) => {
      const context = new CommandContext(deps, command);
      context.output.print(await context.withClient((client) => client.deadLetter(seq)), pretty);
    });
  acting(dead.command("retry").description("hand it to its actor again, once; prints the reply"))
    .argument("<seq>", "number of the letter", countArgument)
    .action(async (seq: number, options: WhoAndWhy, command: Command) => await retry(deps, command, seq, options));
  acting(dead.command("edit").description("hand a changed event to its actor instead, once; prints the reply"))
    .argument("<seq>", "number of the letter", countArgument)
    .argument("<type>", "type of the event")
    .argument("[json]", "other fields of the event, like '{\"by\":1}'", fieldsArgument)
    .action(
      async (seq: number, type: string, fields: JsonObject | undefined, options: WhoAndWhy, command: Command) =>
        await retry(deps, command, seq, options, { ...fields, type }),
    );
  acting(dead.command("skip").description("see to it by doing nothing; an actor that is quarantined for it goes on"))
    .argument("<seq>", "number of the letter", countArgument)
    .action(async (seq: number, options: WhoAndWhy, command: Command) => {
      const context = new CommandContext(deps, command);
      await context.withClient((client) => client.skipDeadLetter(seq, auditOf(deps, options)));
      context.output.print({ skipped: seq }, () => `Dead letter ${seq} is skipped`);
    });
  acting(program.command("resume").description("let an actor go on that was quarantined, stopped or failed over"))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .action(async (kind: string, id: string, options: WhoAndWhy, command: Command) => {
      const context = new CommandContext(deps, command);
      const state = await context.withClient((client) => client.resume(kind, id, auditOf(deps, options)));
      context.output.print(state ?? null, pretty);
    });
}

function listing(command: Command, deps: CliDeps): void {
  command
    .option("--limit <count>", "the last so many letters", countArgument, DEFAULT_LIMIT)
    .action(async (_options: object, own: Command) => {
      const context = new CommandContext(deps, own);
      const { limit } = own.optsWithGlobals<{ limit: number }>();
      context.output.print(await context.withClient((client) => client.deadLetters({ limit })), lettersText);
    });
}

const acting = (command: Command): Command =>
  common(command)
    .requiredOption("--why <text>", "the reason, for those who look later")
    .option("--by <name>", "who does it (else USER of the environment)");

const auditOf = ({ env }: CliDeps, { by, why }: WhoAndWhy): Audit => ({ by: by ?? (env["USER"] || "cli"), why });

async function retry(
  deps: CliDeps,
  command: Command,
  seq: number,
  options: WhoAndWhy,
  event?: { readonly type: string },
): Promise<void> {
  const context = new CommandContext(deps, command);
  const wanted = { ...auditOf(deps, options), ...(event !== undefined && { event }) };
  const reply = await context.withClient((client) => client.retryDeadLetter(seq, wanted));
  context.output.print(reply ?? null, pretty);
}
