/** `lab`: one simulated lab host as a process of its own. Invariant: killing it takes its devices off line, as pulling a real host's plug. */
import type { Command } from "commander";
import { join, resolve } from "node:path";
import type { Names } from "../../nats-config/subjects.ts";
import type { Broker, StoredMessage } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { LAB_HOSTS, type LabHost, labHost } from "../lab/hosts.ts";
import { type RunningLabHost, startLabHost } from "../lab/lab-host.ts";
import { FIRST_INCIDENT_MS, MAX_GAP_MS, MIN_GAP_MS } from "../lab/plan.ts";
import { durationArgument, seedArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, DATA_DIR } from "./context.ts";
import { CliError, EXIT, messageOf } from "./exit.ts";
import { makeLog, type Served, serve, serving } from "./serve.ts";

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

/**
 * Where the drivers of this cluster keep their tokens. Tokens are counted by a cluster's locks: under a new or another cluster
 * they begin anew, and drivers that remembered the old ones would refuse everybody.
 */
async function tokenDir(broker: Broker, names: Names, base: string): Promise<string> {
  let oldest: StoredMessage | undefined;
  try {
    [oldest] = await broker.read(names.kv.meta.stream, { subject: names.kv.meta.key(">"), limit: 1 });
  } catch (cause) {
    throw new CliError(
      EXIT.unreachable,
      `No cluster "${names.namespace}" here (${messageOf(cause)}): start a node first`,
      { cause },
    );
  }
  if (oldest === undefined)
    throw new CliError(EXIT.unreachable, `No cluster "${names.namespace}" here: start a node first`);
  return join(base, `${names.namespace}-${oldest.timeMs.toString(36)}`);
}

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
        const { names } = context;
        const broker = await connectBroker({
          servers: await context.servers(),
          name: `lab ${host.name}`,
          clock: deps.clock,
        });
        try {
          const base = resolve(deps.cwd, options.data ?? join(DATA_DIR, "lab"));
          const dataDir = await tokenDir(broker, names, base);
          const plan = {
            seed,
            firstIncidentMs: options.firstIncident,
            minGapMs: options.minGap,
            maxGapMs: options.maxGap,
          };
          const lab = await startLabHost({ host, broker, names, log, clock: deps.clock, dataDir, plan });
          return servedLab(host, seed, lab, broker);
        } catch (error) {
          await broker.close();
          throw error;
        }
      });
    });
}

function servedLab(host: LabHost, seed: number, lab: RunningLabHost, broker: Broker): Served {
  const devices = host.devices.map(({ id, name, model }) => ({ id, name, model }));
  const names = devices.map(({ id, name }) => `${id} (${name})`).join(", ");
  return {
    ready: { part: `lab ${host.name}`, host: host.name, seed, devices },
    text: `lab host ${host.name} is up with ${names}; seed ${seed}`,
    stop: async () => {
      lab.stop();
      await broker.close();
    },
  };
}
