/** `apply`: the server's streams brought to their specification. Invariant: drift that stays is an exit code, not a remark. */
import { type Command, InvalidArgumentError } from "commander";
import { applyStreams, type StreamReport } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";
import { table } from "./output.ts";

/** What the server takes as the number of copies. */
const REPLICAS = [1, 3, 5];

function replicasArgument(text: string): number {
  const replicas = Number(text);
  if (REPLICAS.includes(replicas)) return replicas;
  throw new InvalidArgumentError(`${JSON.stringify(text)} is no number of copies: give one of ${REPLICAS.join(", ")}`);
}

/** Creates and updates the streams of a namespace. */
export async function applyAll(
  servers: readonly string[],
  names: Parameters<typeof streamSpecs>[0],
  replicas: number,
): Promise<StreamReport[]> {
  const broker = await connectBroker({ servers, name: "troupe-apply" });
  try {
    return await applyStreams(broker.connection, streamSpecs(names, { replicas }));
  } finally {
    await broker.close();
  }
}

export function applyCommand(program: Command, deps: CliDeps): void {
  common(program.command("apply").description("create or update the streams and buckets; exit 1 if drift stays"))
    .option("--replicas <count>", "copies of each stream: 1, or 3 in a cluster", replicasArgument, 1)
    .action(async ({ replicas }: { replicas: number }, command: Command) => {
      const context = new CommandContext(deps, command);
      const report = await applyAll(await context.servers(), context.names, replicas);
      context.output.print(report, reportText);
      const drifted = report.filter(({ action }) => action === "drift").map(({ stream }) => stream);
      if (drifted.length > 0) {
        throw new CliError(
          EXIT.failed,
          `Drift stays on ${drifted.join(", ")}: see the reasons above, change the stream by hand or the specification`,
        );
      }
    });
}

const short = (value: unknown): string => (value === undefined ? "-" : JSON.stringify(value));

function reportText(report: readonly StreamReport[]): string {
  const rows = report.flatMap(({ stream, action, drift }) => [
    [stream, action, "", "", ""],
    ...drift.map(({ field, wanted, found, kept }) => [
      "",
      kept === undefined ? "updated" : `stays: ${kept}`,
      field,
      short(found),
      short(wanted),
    ]),
  ]);
  return table(["STREAM", "RESULT", "FIELD", "FOUND", "WANTED"], rows);
}
