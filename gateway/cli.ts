#!/usr/bin/env node
/** The `troupe` command as a process. Invariant: it wires the real world to the command line and decides nothing. */
import { fileURLToPath } from "node:url";
import { systemClock } from "../runtime/clock.ts";
import { connect } from "../runtime/client.ts";
import { VERSION } from "../runtime/version.ts";
import { runCli } from "./commands/program.ts";
import { processStops } from "./commands/stops.ts";

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
    cliPath: fileURLToPath(import.meta.url),
    connect,
    stops: processStops(),
    interactive: process.stdout.isTTY,
  },
  VERSION,
);
