/** `node`: one runtime process with all kinds of the system. Invariant: SIGTERM drains; nothing that was accepted is lost. */
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { hostname } from "node:os";
import { type Role, ROLES } from "../../runtime/families.ts";
import { labelsArgument, rolesArgument, weightArgument } from "./arguments.ts";
import { type CliDeps, CommandContext } from "./context.ts";
import { makeLog, serve, serving } from "./serve.ts";

interface NodeOptions {
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly roles?: readonly Role[];
  readonly weight?: number;
  readonly standby?: boolean;
  readonly endWithStdin?: boolean;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

function nameArgument(text: string): string {
  if (NAME.test(text)) return text;
  throw new InvalidArgumentError(`${JSON.stringify(text)} is no node name: use 1 to 64 of A-Z a-z 0-9 _ -`);
}

/** A name that two processes of one host do not share. */
const defaultName = (): string =>
  `${hostname()
    .replaceAll(/[^A-Za-z0-9_-]/g, "-")
    .slice(0, 48)}-${process.pid}`;

export function nodeCommand(program: Command, deps: CliDeps): void {
  serving(program.command("node").description("run a node: devices, locks, tasks, agents"))
    .option("--name <name>", "name of the node (default: host and process id)", nameArgument)
    .option("--labels <list>", "what it is, like role=lab,host=sunri-pi1", labelsArgument)
    .option("--roles <list>", `what it is there for, of ${ROLES.join(",")} (default: all)`, rolesArgument)
    .option("--weight <number>", "its share of the shards, beside those of other nodes (default: 1)", weightArgument)
    .option("--standby", "copy the actors of other nodes that it would take over, so that it does so sooner")
    .action(async (options: NodeOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const name = options.name ?? defaultName();
      const log = makeLog(deps.env, name);
      await serve(context, options, async () => {
        // Loaded here, so that short commands do not pay for it.
        const { composeNode } = await import("../compose-node.ts");
        const { namespace, deviceRoot } = context.names;
        const { labels, roles, weight, standby } = options;
        const running = await composeNode({
          name,
          servers: await context.servers(),
          namespace,
          deviceRoot,
          log,
          ...(labels !== undefined && { labels }),
          ...(roles !== undefined && { roles }),
          ...(weight !== undefined && { weight }),
          ...(standby !== undefined && { standby }),
        });
        const { node } = running;
        return {
          ready: { part: name, node: name, incarnation: node.incarnation, shards: node.ownedShards().length },
          text: `node ${name} is up (pid ${process.pid}, ${node.ownedShards().length} shards)`,
          stop: () => running.stop(),
        };
      });
    });
}
