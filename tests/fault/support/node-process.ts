/** A node as a process that a test can kill, freeze and start again. Invariant: one process at a time, none left behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { until } from "./wait.ts";

/** A started node serves within this, in ms; a takeover from a lease that has yet to end is part of it. */
const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 20_000;
/** Lines of the log that are kept for a failure's report. */
const LOG_LINES = 2_000;
/** What a node runs unless told otherwise. */
const SCRIPT = new URL("../workers/node.ts", import.meta.url);

/** A line that a worker printed: `up`, `invoked`, or an act of the clerk under its `token`. */
export interface Told {
  readonly up?: string;
  readonly invoked?: string;
  readonly token?: number;
  readonly pid: number;
  /** Monotonic ms of this process. */
  readonly atMs: number;
}

export class NodeProcess {
  readonly name: string;
  readonly told: Told[] = [];
  readonly log: string[] = [];
  /** Of the code that its next process runs. */
  release = 1;
  readonly #env: NodeJS.ProcessEnv;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;

  /** `run` stands before the command and becomes it: where the process runs, if not beside the test. */
  constructor(name: string, env: Readonly<Record<string, string>>, script = SCRIPT, run: readonly string[] = []) {
    this.name = name;
    this.#command = [...run, process.execPath, fileURLToPath(script)];
    this.#env = { ...process.env, ...env, FAULT_NODE: name, NODE_OPTIONS: "" };
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Spawns; resolves when it serves. @throws It ended, or took too long; the error shows its last lines. */
  async start(): Promise<void> {
    if (this.isRunning) throw new Error(`Node "${this.name}" runs already: kill it first`);
    const [command = "", ...args] = this.#command;
    const child = spawn(command, args, {
      env: { ...this.#env, FAULT_RELEASE: String(this.release) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => {
      this.told.push({ ...(JSON.parse(line) as Told), atMs: performance.now() });
    });
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.log.push(line);
      if (this.log.length > LOG_LINES) this.log.shift();
    });
    await until(`node "${this.name}" to serve`, START_DEADLINE_MS, () => {
      if (!this.isRunning)
        throw new Error(`Node "${this.name}" ended at its start:\n${this.log.slice(-20).join("\n")}`);
      return this.told.some((line) => line.up !== undefined && line.pid === child.pid);
    });
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.#gone();
  }

  /** SIGTERM: drains and leaves. */
  async drain(): Promise<void> {
    this.#child?.kill("SIGTERM");
    await this.#gone();
  }

  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  async #gone(): Promise<void> {
    await until(`node "${this.name}" to end`, STOP_DEADLINE_MS, () => !this.isRunning);
  }
}
