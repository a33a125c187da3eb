/** The command line. Invariant: every run ends with a documented exit code and, if it failed, one line on stderr that names the way out. */
import { Command, CommanderError } from "commander";
import { applyCommand } from "./apply.ts";
import { type CliDeps, common } from "./context.ts";
import { deadCommands } from "./dead.ts";
import { crewsCommand } from "./crews.ts";
import { devCommand } from "./dev.ts";
import { EXIT, EXIT_HELP, type ExitCode, exitOf, messageOf } from "./exit.ts";
import { explainCommand } from "./explain.ts";
import { gatewayCommand } from "./gateway.ts";
import { historyCommand } from "./history.ts";
import { labCommand } from "./lab.ts";
import { locksCommand } from "./locks.ts";
import { messageCommands } from "./messages.ts";
import { nodeCommand } from "./node.ts";
import { nodesCommand } from "./nodes.ts";
import { occupancyCommand } from "./occupancy.ts";
import { psCommand } from "./ps.ts";
import { replayCommand } from "./replay.ts";

export function makeProgram(deps: CliDeps, version: string): Command {
  const program = common(new Command("troupe"))
    .description("Durable actors on NATS, and a platform for agents that work with devices")
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => deps.io.out(text),
      writeErr: (text) => deps.io.err(text),
      outputError: (text, write) => write(`troupe: ${text.replace(/^error: /, "")}`),
    })
    .showSuggestionAfterError()
    .addHelpText("after", `\n${EXIT_HELP}`);
  devCommand(program, deps);
  nodeCommand(program, deps);
  gatewayCommand(program, deps);
  labCommand(program, deps);
  applyCommand(program, deps);
  messageCommands(program, deps);
  psCommand(program, deps);
  nodesCommand(program, deps);
  explainCommand(program, deps);
  locksCommand(program, deps);
  historyCommand(program, deps);
  deadCommands(program, deps);
  crewsCommand(program, deps);
  occupancyCommand(program, deps);
  replayCommand(program, deps);
  addHelp(program, "troupe");
  return program.showHelpAfterError("See `troupe --help`");
}

function addHelp(parent: Command, name: string): void {
  for (const command of parent.commands) {
    const own = `${name} ${command.name()}`;
    command.showHelpAfterError(`See \`${own} --help\``).addHelpText("after", `\n${EXIT_HELP}`);
    addHelp(command, own);
  }
}

/** `help dead show` as `dead show --help`: commander's own help command looks no further than the first word. */
const helpLast = ([first, ...path]: readonly string[]): string[] =>
  first === "help" && path.length > 1 ? [...path, "--help"] : first === undefined ? [] : [first, ...path];

/** Runs one command line (without the program's name) and resolves with its exit code. Never rejects. */
export async function runCli(args: readonly string[], deps: CliDeps, version: string): Promise<ExitCode> {
  try {
    await makeProgram(deps, version).parseAsync(helpLast(args), { from: "user" });
    return EXIT.ok;
  } catch (error) {
    // Commander has said what was wrong already, and ends --help and --version this way too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    deps.io.err(`troupe: ${messageOf(error)}\n`);
    return exitOf(error);
  }
}
