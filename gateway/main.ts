/**
 * The real world of the command line. Invariant: it wires streams, clock and connection to the commands and decides nothing; once
 * a command has ended and its output is out, so has the process.
 */
import { systemClock } from "../runtime/clock.ts";
import { connect } from "../runtime/client.ts";
import { VERSION } from "../runtime/version.ts";
import { runCli } from "./commands/program.ts";
import { processStops } from "./commands/stops.ts";

/** Runs the process's command line; `cliPath` is the file that starts another one. */
export async function main(cliPath: string): Promise<void> {
  // A reader that goes away (`troupe history … | head`) is no fault.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
  process.exitCode = await runCli(
    process.argv.slice(2),
    {
      io: { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) },
      env: process.env,
      cwd: process.cwd(),
      clock: systemClock,
      cliPath,
      connect,
      stops: processStops(),
      interactive: process.stdout.isTTY,
    },
    VERSION,
  );
  await Promise.all([process.stdout, process.stderr].map(flushed));
  // The client of NATS leaves its socket open to a server that accepts connections and says nothing.
  process.exit();
}

/** Resolves when all that was written is out, or nobody reads it any more. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    else stream.write("", () => resolve());
  });
}
