/** `lab`: one simulated lab host as a process of its own. Invariant: killing it takes its devices off line, as pulling a real host's plug. */
import type { Command } from "commander";
import { join, resolve } from "node:path";
import { connectBroker } from "../../runtime/port-nats.ts";
import { LAB_HOSTS, labHost } from "../lab/hosts.ts";
import { startLabHost } from "../lab/lab-host.ts";
import { FIRST_INCIDENT_MS, MAX_GAP_MS, MIN_GAP_MS } from "../lab/plan.ts";
import { durationArgument, seedArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, DATA_DIR } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";
import { makeLog, serve, serving } from "./serve.ts";

interface LabOptions {
  readonly host: string;
  readonly data?: string;
  readonly seed?: number;
  readonly firstIncident: number;
  readonly minGap: number;
  readonly maxGap: number;
  readonly endWithStdin?: boolean;
}

/** Seeds have nine digits at most, as the option takes. */
const SEEDS = 1_000_000_000;

const hostNames = LAB_HOSTS.map(({ name }) => name).join(", ");

export function labCommand(program: Command, deps: CliDeps): void {
  serving(program.command("lab").description("a simulated lab host with its devices"))
    .requiredOption("--host <name>", `one of ${hostNames}`)
    .option("--data <directory>", `where drivers keep their fencing tokens (default: ${DATA_DIR} here)`)
    .option("--seed <number>", "repeat the incidents of this seed", seedArgument)
    .option("--first-incident <duration>", "until the first black screen", durationArgument, FIRST_INCIDENT_MS)
    .option("--min-gap <duration>", "pause between two incidents, at least", durationArgument, MIN_GAP_MS)
    .option("--max-gap <duration>", "pause between two incidents, at most", durationArgument, MAX_GAP_MS)
    .action(async (options: LabOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const host = labHost(options.host);
      if (host === undefined)
        throw new CliError(EXIT.notFound, `No lab host "${options.host}": known are ${hostNames}`);
      if (options.minGap > options.maxGap) {
        throw new CliError(
          EXIT.usage,
          `--min-gap is ${options.minGap} ms and --max-gap ${options.maxGap} ms: give a range`,
        );
      }
      const log = makeLog(deps.env, `lab ${host.name}`);
      const seed = options.seed ?? Math.floor(deps.clock.random() * SEEDS);
      await serve(context, options, async () => {
        const broker = await connectBroker({
          servers: await context.servers(),
          name: `lab ${host.name}`,
          clock: deps.clock,
        });
        const lab = await startLabHost({
          host,
          broker,
          names: context.names,
          log,
          clock: deps.clock,
          dataDir: resolve(deps.cwd, options.data ?? join(DATA_DIR, "lab")),
          plan: { seed, firstIncidentMs: options.firstIncident, minGapMs: options.minGap, maxGapMs: options.maxGap },
        });
        const devices = host.devices.map(({ id, name, model }) => ({ id, name, model }));
        return {
          ready: { part: `lab ${host.name}`, host: host.name, seed, devices },
          text: `lab host ${host.name} is up with ${devices.map(({ id, name }) => `${id} (${name})`).join(", ")}; seed ${seed}`,
          stop: async () => {
            lab.stop();
            await broker.close();
          },
        };
      });
    });
}
