/** What every command stands on: options common to all, the connection, the way to stop. Invariant: a command that ends leaves no connection open. */
import type { Command } from "commander";
import { join } from "node:path";
import { natsUrl } from "../../nats-config/binary.ts";
import { readOwner } from "../../nats-config/data-dir.ts";
import { DEFAULT_DEVICE_ROOT, DEFAULT_NAMESPACE, makeNames, type Names } from "../../nats-config/subjects.ts";
import type { Client } from "../../runtime/api.ts";
import type { Clock } from "../../runtime/clock.ts";
import { TroupeError } from "../../runtime/errors.ts";
import { CliError, EXIT, messageOf } from "./exit.ts";
import { type Io, Output } from "./output.ts";
import type { Stops } from "./stops.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConnectOptions {
  readonly servers: string[];
  readonly namespace: string;
  readonly deviceRoot: string;
  readonly name: string;
  /** How long to wait for the server and a first node, in ms. */
  readonly waitMs?: number;
}

export interface CliDeps {
  readonly io: Io;
  readonly env: Environment;
  readonly cwd: string;
  readonly clock: Clock;
  /** The file that was started: `dev` starts its parts by it. */
  readonly cliPath: string;
  readonly connect: (options: ConnectOptions) => Promise<Client>;
  readonly stops: Stops;
  /** Stdout is a terminal that somebody looks at. */
  readonly interactive: boolean;
}

export interface CommonOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly namespace?: string;
  readonly deviceRoot?: string;
}

/** How long a command waits for a server that does not answer, in ms: a restart takes less, a person no longer. */
const CONNECT_WAIT_MS = 2_000;
const DEFAULT_URL = "nats://127.0.0.1:4222";
/** Where `troupe dev` keeps what it stores, unless told. */
export const DATA_DIR = ".troupe";
/** The embedded server's part of it. */
export const natsDir = (dataDir: string): string => join(dataDir, "nats");

/** Adds the options that every command takes. */
export function common(command: Command): Command {
  return command
    .option("--json", "print JSON on stdout and nothing else")
    .option(
      "--url <url>",
      `NATS servers, separated by commas (else NATS_URL, else a running \`troupe dev\` in this folder, else ${DEFAULT_URL})`,
    )
    .option(
      "--namespace <name>",
      `prefix of the cluster's subjects (else TROUPE_NAMESPACE, else "${DEFAULT_NAMESPACE}")`,
    )
    .option(
      "--device-root <name>",
      `first word of its devices' subjects; a second cluster on one server needs another (else TROUPE_DEVICE_ROOT, else "${DEFAULT_DEVICE_ROOT}")`,
    );
}

/** A server's address without its password. */
function withoutSecrets(server: string): string {
  return server.replace(/^([a-z]+:\/\/)?[^@/]*@/, "$1");
}

export class CommandContext {
  readonly deps: CliDeps;
  readonly options: CommonOptions;
  readonly output: Output;

  constructor(deps: CliDeps, command: Command) {
    this.deps = deps;
    this.options = command.optsWithGlobals<CommonOptions>();
    this.output = new Output(deps.io, this.options.json === true);
  }

  /** @throws {CliError} The namespace or the device root is not one. */
  get names(): Names {
    const { options, deps } = this;
    const namespace = options.namespace ?? (deps.env["TROUPE_NAMESPACE"] || DEFAULT_NAMESPACE);
    const deviceRoot = options.deviceRoot ?? (deps.env["TROUPE_DEVICE_ROOT"] || DEFAULT_DEVICE_ROOT);
    try {
      return makeNames({ namespace, deviceRoot });
    } catch (cause) {
      throw new CliError(EXIT.usage, messageOf(cause), { cause });
    }
  }

  /** The servers to speak to: what was said, else what the environment says, else what runs here. */
  async servers(): Promise<string[]> {
    const { options, deps } = this;
    if (options.url !== undefined) {
      const urls = natsUrl({ NATS_URL: options.url });
      if (urls === undefined) throw new CliError(EXIT.usage, "The option --url is empty: give nats://host:4222");
      return urls;
    }
    const named = natsUrl(deps.env);
    if (named !== undefined) return named;
    const directory = natsDir(join(deps.cwd, DATA_DIR));
    try {
      return [(await readOwner(directory))?.url ?? DEFAULT_URL];
    } catch (cause) {
      const text = `Whether \`troupe dev\` runs here cannot be read in "${directory}" (${messageOf(cause)}): name the server with --url or NATS_URL`;
      throw new CliError(EXIT.usage, text, { cause });
    }
  }

  async withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const { namespace, deviceRoot } = this.names;
    const servers = await this.servers();
    const client = await this.deps
      .connect({ servers, namespace, deviceRoot, name: "troupe-cli", waitMs: CONNECT_WAIT_MS })
      .catch((cause: unknown) => {
        if (cause instanceof TroupeError) throw cause;
        // The server answers, but not as a cluster of ours does: its streams are missing, or the user may not read them.
        throw new CliError(
          EXIT.unreachable,
          `No cluster "${namespace}" at ${servers.map(withoutSecrets).join(",")} (${messageOf(cause)}): start a node, or all with \`troupe dev\``,
          { cause },
        );
      });
    try {
      return await use(client);
    } finally {
      await client.close();
    }
  }
}
