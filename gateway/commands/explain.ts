/** `explain placement`: why an actor lives where it does. Invariant: reads only; what is not known is shown as `-`. */
import type { Command } from "commander";
import type { PlacementReport } from "../../runtime/explain.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { table } from "./output.ts";

export function explainCommand(program: Command, deps: CliDeps): void {
  const explain = program.command("explain").description("why something is as it is");
  common(explain.command("placement").description("where an actor lives: shard, owner, and what speaks for each node"))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .action(async (kind: string, id: string, _: object, command: Command) => {
      const context = new CommandContext(deps, command);
      const report = await context.withClient((client) => client.explainPlacement(kind, id));
      context.output.print(report, textOf);
    });
}

function textOf(report: PlacementReport): string {
  const { kind, id, shard, door, owner, wanted, epoch, checkpoint, candidates } = report;
  const lines = [
    `${kind}/${id} lives in shard ${shard}: ${reasonOf(report)}`,
    ...(shard === door ? [] : [`callers send to shard ${door}, whose owner passes it on`]),
    `owner ${owner ?? "-"}, epoch ${epoch ?? "-"}, checkpoint ${checkpoint ?? "-"}`,
    ...(owner === wanted ? [] : [wanted === null ? "no node fits" : `should move to ${wanted}`]),
    "",
  ];
  const rows = candidates.map((node) => [
    node.key,
    node.state,
    node.weight,
    node.score.toFixed(3),
    node.unfit === null ? "fits" : node.unfit,
  ]);
  return `${lines.join("\n")}${candidates.length === 0 ? "No node is up" : table(["NODE", "STATE", "WEIGHT", "SCORE", "FITS"], rows)}`;
}

function reasonOf({ kind, placement, isPinned }: PlacementReport): string {
  if (placement === null) return "its kind shares the numbered shards";
  const { roles, label, upTo } = placement;
  const of = `on nodes of the role ${roles.join(" or ")} that host the kind`;
  if (label === null) return `the kind "${kind}" has shards of its own, ${of}`;
  const pinned = isPinned ? "only where that label is" : "anywhere until a node with that label has joined";
  return `the label "${label}" is the id up to "${upTo}", ${of}, ${pinned}`;
}
