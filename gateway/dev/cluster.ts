/**
 * A whole local cluster: NATS, nodes, gateway, lab. Invariant: it comes up in an order in which nothing is missed (agents know
 * their triggers before the lab makes trouble), and goes down in the reverse, each part once.
 */
import { join } from "node:path";
import { makeNames } from "../../nats-config/subjects.ts";
import { isPortFree } from "../../nats-config/ports.ts";
import { applyAll } from "../commands/apply.ts";
import type { CliDeps } from "../commands/context.ts";
import { CliError, EXIT } from "../commands/exit.ts";
import { registerCatalogue } from "./catalogue.ts";
import { LogFile } from "./log-file.ts";
import { type LocalNats, startLocalNats } from "./nats.ts";
import { observe } from "./observer.ts";
import { Part, type PartSpec } from "./part.ts";
import { clusterParts } from "./parts.ts";
import type { Reporter } from "./reporter.ts";

export interface ClusterOptions {
  readonly dataDir: string;
  readonly namespace: string;
  readonly deviceRoot: string;
  readonly natsUrls: readonly string[] | undefined;
  readonly port: number;
  readonly lab: boolean;
  readonly seed: number | undefined;
}

type Undo = () => Promise<unknown>;

export class Cluster {
  readonly #deps: CliDeps;
  readonly #options: ClusterOptions;
  readonly #reporter: Reporter;
  readonly #parts: Part[] = [];
  /** What is to be undone, in the order of doing. */
  readonly #undo: Undo[] = [];
  readonly #stopping = new AbortController();
  #starting: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(deps: CliDeps, options: ClusterOptions, reporter: Reporter) {
    this.#deps = deps;
    this.#options = options;
    this.#reporter = reporter;
  }

  /**
   * Brings everything up and resolves when all of it is ready.
   * @throws {CliError} A part refused to start, or `stop()` was called meanwhile.
   */
  start(): Promise<void> {
    this.#starting ??= this.#bringUp();
    return this.#starting;
  }

  async #bringUp(): Promise<void> {
    const { port, dataDir, deviceRoot } = this.#options;
    if (port !== 0 && !(await isPortFree(port))) {
      throw new CliError(
        EXIT.failed,
        `Port ${port} of 127.0.0.1 is taken: stop what listens there, or give another one with --port (0 takes any free one)`,
      );
    }
    const nats = await this.#startNats();
    await this.#step("streams", () => applyAll(nats.url.split(","), makeNames(this.#options), 1));
    const plan = { ...this.#options, labDir: join(dataDir, "lab") };
    const { nodes, gateway: gatewaySpec, labs } = clusterParts(plan);
    const [gateway] = await Promise.all([
      this.#startPart(gatewaySpec, nats),
      ...nodes.map((spec) => this.#startPart(spec, nats)),
    ]);
    const url = String(gateway?.ready?.["url"]);
    await this.#observe(nats);
    this.#reporter.addresses({ nats: nats.url, mqtt: nats.mqttUrl, gateway: url, dataDir, deviceRoot });
    const say = (text: string): void => this.#reporter.say("agents", text);
    await this.#step("agents", () =>
      registerCatalogue(url, { clock: this.#deps.clock, signal: this.#stopping.signal, say }),
    );
    await Promise.all(labs.map((spec) => this.#startPart(spec, nats)));
  }

  /** Ends all parts in order. Idempotent. */
  stop(): Promise<void> {
    this.#stopping.abort(new CliError(EXIT.failed, "Stopped before everything was up"));
    this.#stopped ??= this.#unwind();
    return this.#stopped;
  }

  /** Ends all child processes without asking. NATS ends with us: its parent's death is its own. */
  kill(): void {
    for (const part of this.#parts) part.kill();
  }

  async #startNats(): Promise<LocalNats> {
    const { dataDir, natsUrls } = this.#options;
    const log = new LogFile(join(dataDir, "logs", "nats.log"));
    const show = (state: string, note: string, pid: number | null): void =>
      this.#reporter.part({ name: "nats", state, pid: pid ?? undefined, note });
    if (natsUrls === undefined) show("starting", "starting; the first time this may fetch the server", null);
    const nats = await startLocalNats({
      dataDir,
      named: natsUrls,
      log: (line) => log.write(`${line}\n`),
      onChange: show,
    });
    this.#undo.push(async () => {
      await nats.stop();
      show("stopped", "stopped", null);
    });
    this.#stopping.signal.throwIfAborted();
    show("up", nats.pid === null ? `the server at ${nats.url}` : `up (pid ${nats.pid}) at ${nats.url}`, nats.pid);
    return nats;
  }

  async #startPart(spec: PartSpec, nats: LocalNats): Promise<Part> {
    this.#stopping.signal.throwIfAborted();
    const { clock, cliPath, env, cwd } = this.#deps;
    const part = new Part(spec, {
      clock,
      cliPath,
      // Not on the command line: an address may hold a password.
      env: { ...env, NATS_URL: nats.url },
      cwd,
      logDir: join(this.#options.dataDir, "logs"),
      onChange: ({ state, pid }, note) => this.#reporter.part({ name: spec.name, state, pid, note }),
    });
    this.#parts.push(part);
    await part.start();
    return part;
  }

  async #observe(nats: LocalNats): Promise<void> {
    const { connect, clock } = this.#deps;
    const client = await connect({
      servers: nats.url.split(","),
      namespace: this.#options.namespace,
      deviceRoot: this.#options.deviceRoot,
      name: "troupe-dev",
    });
    this.#undo.push(() => client.close());
    const observer = await observe(client, clock, this.#reporter);
    this.#undo.push(async () => observer.stop());
  }

  async #step(what: string, act: () => Promise<unknown>): Promise<void> {
    this.#stopping.signal.throwIfAborted();
    const startedMs = this.#deps.clock.monotonic();
    await act();
    this.#reporter.say(what, `ready after ${Math.round(this.#deps.clock.monotonic() - startedMs)} ms`);
  }

  async #unwind(): Promise<void> {
    const stopAll = (wanted: (part: Part) => boolean): Promise<unknown> =>
      Promise.all(this.#parts.filter(wanted).map((part) => part.stop()));
    const isLab = ({ spec }: Part): boolean => spec.name.startsWith("lab ");
    const isGateway = ({ spec }: Part): boolean => spec.name === "gateway";
    await stopAll(isLab);
    await stopAll(isGateway);
    await stopAll((part) => !isLab(part) && !isGateway(part));
    // A start under way may have brought up one more; how it ended its own caller hears.
    await this.#starting?.catch((error: unknown) => error);
    await stopAll(() => true);
    for (const undo of this.#undo.toReversed()) await undo();
  }
}
