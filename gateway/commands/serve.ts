/**
 * What `node`, `gateway` and `lab` share: they run until they are told to end. Invariant: on stdout stand one `ready` and one
 * `stopped` line, so that a parent knows; the log goes to stderr.
 */
import type { Command } from "commander";
import { destination, type Logger, pino } from "pino";
import { type CommandContext, common, type Environment } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";

const STDERR = 2;
const LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"];

/** What a running part says about itself; printed as one JSON line with --json. */
export type Ready = { readonly part: string } & Readonly<Record<string, unknown>>;

export interface Served {
  readonly ready: Ready;
  /** For people. */
  readonly text: string;
  stop(): Promise<void>;
}

export const serving = (command: Command): Command =>
  common(command).option("--end-with-stdin", "also end when stdin closes: for a parent that starts this as its child");

/** @throws {CliError} TROUPE_LOG_LEVEL is no level. */
export function makeLog(env: Environment, part: string): Logger {
  const level = env["TROUPE_LOG_LEVEL"] || "info";
  if (!LEVELS.includes(level)) {
    throw new CliError(EXIT.usage, `TROUPE_LOG_LEVEL is ${JSON.stringify(level)}: give one of ${LEVELS.join(", ")}`);
  }
  return pino({ level, base: { part, pid: process.pid } }, destination({ dest: STDERR, sync: true }));
}

/** Starts something and keeps it until the process is told to end. */
export async function serve(
  context: CommandContext,
  options: { readonly endWithStdin?: boolean },
  start: () => Promise<Served>,
): Promise<void> {
  const { stops, io } = context.deps;
  // Listen before the start: a Ctrl-C meanwhile must still lead to an orderly end.
  const { requested } = stops;
  if (options.endWithStdin === true) stops.watchStdin();
  stops.onSecond(() => {
    io.err("troupe: ended without draining\n");
    process.exit(EXIT.failed);
  });
  try {
    const served = await start();
    context.output.print({ event: "ready", pid: process.pid, ...served.ready }, () => served.text);
    const reason = await requested;
    await served.stop();
    context.output.print(
      { event: "stopped", part: served.ready.part, reason },
      () => `${served.ready.part} stopped (${reason})`,
    );
  } finally {
    stops.release();
  }
}
