/** `gateway`: the HTTP door as a process. Invariant: it listens on loopback unless told otherwise. */
import type { Command } from "commander";
import { portArgument } from "./arguments.ts";
import { type CliDeps, CommandContext } from "./context.ts";
import { makeLog, serve, serving } from "./serve.ts";

export const DEFAULT_GATEWAY_PORT = 8_080;
export const DEFAULT_GATEWAY_HOST = "127.0.0.1";

interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  readonly endWithStdin?: boolean;
}

export function gatewayCommand(program: Command, deps: CliDeps): void {
  serving(program.command("gateway").description("serve the HTTP interface"))
    .option("--host <address>", "address to listen on", DEFAULT_GATEWAY_HOST)
    .option("--port <port>", "port to listen on; 0 is any free one", portArgument, DEFAULT_GATEWAY_PORT)
    .action(async (options: GatewayOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const log = makeLog(deps.env, "gateway");
      await serve(context, options, async () => {
        // Loaded here, so that short commands do not pay for it.
        const { startGateway } = await import("../start-gateway.ts");
        const { namespace, deviceRoot } = context.names;
        const gateway = await startGateway({
          servers: await context.servers(),
          namespace,
          deviceRoot,
          host: options.host,
          port: options.port,
          log,
        });
        return {
          ready: { part: "gateway", url: gateway.url },
          text: `gateway is up at ${gateway.url}`,
          stop: () => gateway.stop(),
        };
      });
    });
}
