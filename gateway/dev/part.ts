/**
 * A child process of `troupe dev`, kept alive. Invariant: at most one process of a part runs at any time, in a process group
 * of its own; after `stop()` none does. The child also ends by itself when our end of its stdin closes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { type Clock, sleep } from "../../runtime/clock.ts";
import { CliError, EXIT, type ExitCode, messageOf } from "../commands/exit.ts";
import { isObject, type JsonObject } from "../json.ts";
import { LogFile } from "./log-file.ts";

/** First pause before a part that died is started again, in ms; doubles up to {@link BACKOFF_MAX_MS}. */
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 5_000;
/** A part that lived this long did not die of its start, in ms: the backoff begins anew. */
const STABLE_MS = 10_000;
/** How long a part may take to end in order, in ms: a drain takes well under a second; then it is killed. */
export const STOP_GRACE_MS = 8_000;
/** The last lines of stderr that are kept to explain a death. */
const LAST_LINES = 5;

export type PartState = "starting" | "up" | "down" | "stopped";

export interface PartSpec {
  readonly name: string;
  /** Arguments of the command line; `before` is what an earlier life said when it was ready, to come back the same. */
  readonly args: (before: JsonObject | undefined) => readonly string[];
}

export interface PartDeps {
  readonly clock: Clock;
  readonly cliPath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logDir: string;
  /** Told every change of state; `note` says why. */
  readonly onChange: (part: Part, note: string) => void;
}

export class Part {
  readonly spec: PartSpec;
  readonly #deps: PartDeps;
  readonly #log: LogFile;
  readonly #first = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #state: PartState = "starting";
  #child: ChildProcess | undefined;
  #ready: JsonObject | undefined;
  #lines: string[] = [];
  #life: Promise<void> | undefined;

  constructor(spec: PartSpec, deps: PartDeps) {
    this.spec = spec;
    this.#deps = deps;
    this.#log = new LogFile(`${deps.logDir}/${spec.name.replaceAll(" ", "-")}.log`);
  }

  get state(): PartState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** What the part said of itself when it was last ready. */
  get ready(): JsonObject | undefined {
    return this.#ready;
  }

  /**
   * Starts it and resolves when it is ready for the first time.
   * @throws {CliError} It refused to start for a reason that a retry does not mend.
   */
  start(): Promise<void> {
    this.#life ??= this.#live();
    return this.#first.promise;
  }

  /** Asks it to end, kills it after {@link STOP_GRACE_MS}, and resolves when it is gone. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#signal("SIGTERM");
    const timer = this.#deps.clock.setTimeout(() => this.#signal("SIGKILL"), STOP_GRACE_MS);
    await this.#life;
    this.#deps.clock.clearTimeout(timer);
    if (this.#state !== "stopped") this.#enter("stopped", "stopped");
  }

  /** Ends it without asking. */
  kill(): void {
    this.#stopping.abort();
    this.#signal("SIGKILL");
  }

  /** Never rejects. */
  async #live(): Promise<void> {
    const { clock } = this.#deps;
    let backoffMs = BACKOFF_MIN_MS;
    while (!this.#stopping.signal.aborted) {
      const startedMs = clock.monotonic();
      const end = await this.#run();
      if (this.#stopping.signal.aborted) break;
      const why = this.#lastWords() ?? end.text;
      if (this.#ready === undefined && end.code !== null && end.code !== EXIT.unreachable) {
        this.#enter("down", why);
        this.#first.reject(new CliError(end.code as ExitCode, `${this.spec.name} did not start: ${why}`));
        return;
      }
      if (clock.monotonic() - startedMs > STABLE_MS) backoffMs = BACKOFF_MIN_MS;
      this.#enter("down", `${why}; starting again in ${backoffMs} ms`);
      await sleep(clock, backoffMs, this.#stopping.signal).catch((reason: unknown) => reason);
      backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS);
    }
    this.#first.reject(new CliError(EXIT.failed, `${this.spec.name} was stopped before it was ready`));
  }

  /** One process from start to end. */
  async #run(): Promise<{ code: number | null; text: string }> {
    const { cliPath, env, cwd } = this.#deps;
    const args = [cliPath, ...this.spec.args(this.#ready), "--json", "--end-with-stdin"];
    // Its own process group: Ctrl-C in the terminal must reach us alone, so that the parts end in order.
    const child = spawn(process.execPath, args, { cwd, env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    this.#lines = [];
    this.#enter("starting", `starting (pid ${child.pid ?? "none"})`);
    child.stdin.on("error", (error) => this.#log.write(`stdin: ${messageOf(error)}\n`));
    createInterface({ input: child.stdout }).on("line", (line) => this.#hear(line));
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.#log.write(`${line}\n`);
      this.#lines = [...this.#lines, line].slice(-LAST_LINES);
    });
    return await new Promise((resolve) => {
      child.once("error", (error) => resolve({ code: null, text: messageOf(error) }));
      child.once("close", (code, signal) => {
        this.#child = undefined;
        resolve({ code, text: signal === null ? `ended with exit code ${code}` : `was killed by ${signal}` });
      });
    });
  }

  #hear(line: string): void {
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      message = undefined; // Not ours: it belongs into the log.
    }
    if (isObject(message) && message["event"] === "ready") {
      this.#ready = message;
      this.#enter("up", `up (pid ${this.pid ?? "none"})`);
      this.#first.resolve();
    } else {
      this.#log.write(`${line}\n`);
    }
  }

  /** The error that the part itself gave, if it gave one. */
  #lastWords(): string | undefined {
    return this.#lines.findLast((line) => line.startsWith("troupe: "))?.slice("troupe: ".length);
  }

  #signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      // It was faster: gone is what we wanted.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  #enter(state: PartState, note: string): void {
    this.#state = state;
    this.#deps.onChange(this, note);
  }
}
