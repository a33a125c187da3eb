/** A command line without processes: a client whose answers a test gives, and everything that was printed. */
import { type CliDeps, type ConnectOptions } from "../../gateway/commands/context.ts";
import { runCli } from "../../gateway/commands/program.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import type { ActorView, Client } from "../../runtime/api.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

export interface CliRun {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
  readonly connected: readonly ConnectOptions[];
  /** Clients that were closed. */
  readonly closed: number;
}

export interface CliWorld {
  readonly client?: Partial<Client>;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Instead of a client. */
  readonly connectError?: Error;
}

function fakeClient(answers: Partial<Client>, onClose: () => void): Client {
  const missing = (name: string) => () => Promise.reject(new Error(`The test gave no answer for ${name}`));
  return {
    names: makeNames(),
    // No command that is tested here reaches through to the broker.
    broker: {} as Client["broker"],
    shards: 64,
    tell: missing("tell"),
    ask: missing("ask"),
    query: missing("query"),
    watch: () => {
      throw new Error("The test gave no answer for watch");
    },
    abort: missing("abort"),
    list: missing("list"),
    recent: missing("recent"),
    nodes: missing("nodes"),
    explainPlacement: missing("explainPlacement"),
    history: missing("history"),
    deadLetters: missing("deadLetters"),
    deadLetter: missing("deadLetter"),
    retryDeadLetter: missing("retryDeadLetter"),
    skipDeadLetter: missing("skipDeadLetter"),
    resume: missing("resume"),
    close: async () => onClose(),
    ...answers,
  };
}

export async function cli(args: readonly string[], world: CliWorld = {}): Promise<CliRun> {
  let out = "";
  let err = "";
  let closed = 0;
  const connected: ConnectOptions[] = [];
  const deps: CliDeps = {
    io: { out: (text) => void (out += text), err: (text) => void (err += text) },
    env: world.env ?? {},
    cwd: world.cwd ?? "/nowhere",
    clock: new SimClock(),
    cliPath: "/nowhere/cli.ts",
    connect: async (options) => {
      connected.push(options);
      if (world.connectError !== undefined) throw world.connectError;
      return fakeClient(world.client ?? {}, () => closed++);
    },
    stops: { requested: new Promise(() => {}), onSecond: () => {}, watchStdin: () => {}, release: () => {} },
    interactive: false,
  };
  const exit = await runCli(args, deps, "9.9.9");
  return { exit, out, err, connected, closed };
}

export const viewOf = (more: Partial<ActorView> = {}): ActorView => ({
  kind: "counter",
  id: "a",
  status: "active",
  value: "counting",
  context: { count: 3 },
  revision: 3,
  version: 1,
  node: "node1",
  updatedAtMs: 1_767_225_600_000,
  ...more,
});
