/** `dev`: a whole cluster on this machine. Invariant: whatever way it ends, no process of it is left; what it stored stays. */
import type { Command } from "commander";
import { resolve } from "node:path";
import { natsUrl } from "../../nats-config/binary.ts";
import { Cluster } from "../dev/cluster.ts";
import { Reporter } from "../dev/reporter.ts";
import { jsonView, lineView, liveView } from "../dev/views.ts";
import { portArgument, seedArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common, DATA_DIR } from "./context.ts";
import { EXIT } from "./exit.ts";
import { DEFAULT_GATEWAY_PORT } from "./gateway.ts";

interface DevOptions {
  readonly data: string;
  readonly port: number;
  readonly lab: boolean;
  readonly seed?: number;
}

/** A terminal that does not say how large it is. */
const DEFAULT_TERMINAL = { columns: 100, rows: 40 };

export function devCommand(program: Command, deps: CliDeps): void {
  common(program.command("dev").description("start everything here: NATS, two nodes, gateway, simulated lab"))
    .option("--data <directory>", "where everything is stored", DATA_DIR)
    .option("--port <port>", "port of the gateway; 0 is any free one", portArgument, DEFAULT_GATEWAY_PORT)
    .option("--seed <number>", "repeat the lab's incidents of this seed", seedArgument)
    .option("--no-lab", "without the simulated lab")
    .action(async (options: DevOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const reporter = new Reporter(deps.clock, viewFor(context));
      const { namespace, deviceRoot } = context.names;
      const cluster = new Cluster(
        deps,
        {
          dataDir: resolve(deps.cwd, options.data),
          namespace,
          deviceRoot,
          natsUrls: natsUrl({ NATS_URL: context.options.url ?? deps.env["NATS_URL"] }),
          port: options.port,
          lab: options.lab,
          seed: options.seed,
        },
        reporter,
      );
      await run(deps, cluster, reporter);
    });
}

function viewFor({ deps, output }: CommandContext) {
  if (output.json) return jsonView(deps.io);
  const terminal = (): { columns: number; rows: number } => ({
    columns: process.stdout.columns ?? DEFAULT_TERMINAL.columns,
    rows: process.stdout.rows ?? DEFAULT_TERMINAL.rows,
  });
  return deps.interactive ? liveView(deps.io, deps.clock, terminal) : lineView(deps.io);
}

async function run({ stops, io, interactive }: CliDeps, cluster: Cluster, reporter: Reporter): Promise<void> {
  const { requested } = stops;
  stops.onSecond(() => {
    cluster.kill();
    reporter.close();
    io.err("troupe: killed without draining\n");
    process.exit(EXIT.failed);
  });
  try {
    const reason = await Promise.race([cluster.start().then(() => requested), requested]);
    reporter.say("dev", `stopping (${reason}); once more to kill`);
  } finally {
    await cluster.stop();
    reporter.close();
  }
  if (interactive) io.err("Stopped; what was stored stays\n");
}
