/** `nodes`: who is there, for what, and how it is. Invariant: what a node did not tell is shown as `-`, never as 0. */
import type { Command } from "commander";
import type { NodeFilter, NodeInfo } from "../../runtime/api.ts";
import { type Role, ROLES } from "../../runtime/families.ts";
import { labelsArgument, roleArgument } from "./arguments.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { spanText, table } from "./output.ts";

interface NodesOptions {
  readonly role?: Role;
  readonly labels?: Readonly<Record<string, string>>;
  readonly kind?: string;
  readonly release?: string;
  readonly all?: true;
}

export function nodesCommand(program: Command, deps: CliDeps): void {
  common(program.command("nodes").description("nodes: state, roles, labels, version, health"))
    .option("--role <role>", "only nodes with this role", roleArgument)
    .option("--labels <list>", "only nodes with these labels, like host=sunri-pi1", labelsArgument)
    .option("--kind <kind>", "only nodes that host this kind")
    .option("--release <version>", "only nodes of this version, or of those that begin with it")
    .option("--all", "also dead ones whose records are still there")
    .action(async ({ role, labels, kind, release, all }: NodesOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const filter: NodeFilter = {
        ...(role !== undefined && { role }),
        ...(labels !== undefined && { labels }),
        ...(kind !== undefined && { kind }),
        ...(release !== undefined && { version: release }),
        ...(all === true && { states: ["alive", "leaving", "suspect", "dead"] }),
      };
      const nodes = await context.withClient((client) => client.nodes(filter));
      context.output.print({ nodes }, () => {
        if (nodes.length === 0) return "No such node is up: start one with `troupe node`, or all with `troupe dev`";
        return table(
          HEADERS,
          nodes.map((node) => rowOf(node, deps.clock.now())),
        );
      });
    });
}

const HEADERS = ["NODE", "STATE", "HOST", "VERSION", "ROLES", "LABELS", "WEIGHT", "SHARDS", "ACTORS", "QUEUED"].concat([
  "CPU",
  "LOOP MS",
  "MEMORY",
  "ERRORS",
  "MEASURED",
]);

function rowOf(node: NodeInfo, nowMs: number): (string | number)[] {
  const { health } = node;
  const { roles, labels } = node;
  return [
    node.name,
    node.state,
    node.host,
    node.version,
    roles.length === ROLES.length ? "all" : roles.join(","),
    Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(",") || "-",
    node.weight,
    node.shards?.length ?? "-",
    node.activations ?? "-",
    node.queued ?? "-",
    health === null ? "-" : percent(health.cpu),
    health?.loopDelayMs ?? "-",
    node.memoryBytes === null ? "-" : `${Math.round(node.memoryBytes / 1e6)} MB`,
    health === null || health.errorRate === null ? "-" : percent(health.errorRate),
    health === null ? "-" : `${spanText(nowMs - health.measuredAtMs)} ago`,
  ];
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
