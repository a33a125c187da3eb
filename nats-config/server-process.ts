/**
 * One run of nats-server as a child. Invariant: it never outlives this process, not even when we are killed with
 * SIGKILL, and no signal reaches it but ours: it has a process group of its own, so Ctrl-C does not.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { DataDirError, NatsConfigError, PortTakenError, ServerStartError } from "./errors.ts";
import { LOOPBACK } from "./ports.ts";
import { deadlineIn, pause } from "./wait.ts";

/** How long a start may take, in ms. The server reads its streams first: 10,000 consumers were seen to take 23 s. */
export const START_DEADLINE_MS = 60_000;
/** How long the server may take to write out its streams after SIGTERM, in ms, before SIGKILL. */
export const STOP_GRACE_MS = 10_000;
const POLL_MS = 5;
/** How long one look at the port may take, in ms. */
const PROBE_TIMEOUT_MS = 1_000;
/** Log lines kept for an error message. */
const KEPT_LINES = 20;

/**
 * The shell turns into the server, so the child's pid is the server's. Before that it leaves a watchdog that reads our
 * pipe: a line means that the server has ended and all is well, end of file that we died, and then it ends the server.
 */
const LAUNCHER = `(trap '' INT HUP TERM; read -r _ <&3 || kill -TERM $$) </dev/null >/dev/null 2>&1 & exec "$@" 3<&-`;

export interface ServerProcess {
  readonly pid: number;
  /** Resolves when it has ended, with the way it did. Never rejects. */
  readonly exited: Promise<string>;
  readonly hasExited: boolean;
  /** The last lines that it logged, oldest first. */
  readonly lastLines: readonly string[];
  /** SIGTERM, and SIGKILL after {@link STOP_GRACE_MS}. Resolves when it has ended. */
  stop(): Promise<void>;
}

interface SpawnOptions {
  readonly binary: string;
  readonly configFile: string;
  readonly log: (line: string) => void;
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}

function collectLines(child: ChildProcess, log: (line: string) => void): string[] {
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      if (lines.length > KEPT_LINES) lines.shift();
      log(line);
    });
  }
  return lines;
}

/**
 * Starts nats-server. It is not ready yet: see {@link untilReady}.
 * @throws {ServerStartError} The system could start no process.
 */
export async function spawnServer({ binary, configFile, log }: SpawnOptions): Promise<ServerProcess> {
  const child = spawn("/bin/sh", ["-c", LAUNCHER, "sh", binary, "-c", configFile], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const lastLines = collectLines(child, log);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => reject(new ServerStartError(cause.message, [], { cause })));
  });
  const pid = child.pid;
  if (pid === undefined) throw new ServerStartError("it has no process id", []);
  const pipe = child.stdio[3] as Writable;
  // The watchdog may be gone already, and its end of the pipe with it.
  pipe.on("error", () => {});
  const killAtExit = () => child.kill("SIGTERM");
  process.once("exit", killAtExit);

  let hasExited = false;
  const ended = new Promise<string>((resolve) => {
    child.once("exit", (code, signal) => {
      hasExited = true;
      process.removeListener("exit", killAtExit);
      pipe.end("ended\n");
      resolve(describeExit(code, signal));
    });
  });
  // "close" comes after the last log line, which an error message wants to quote.
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const exited = ended.then(async (how) => {
    await closed;
    return how;
  });
  return {
    pid,
    exited,
    lastLines,
    get hasExited() {
      return hasExited;
    },
    stop: async () => {
      const grace = new AbortController();
      child.kill("SIGTERM");
      const patience = pause(STOP_GRACE_MS, grace.signal).then(
        () => child.kill("SIGKILL"),
        () => false,
      );
      await exited;
      grace.abort();
      await patience;
    },
  };
}

/** The `server_name` that the listener there introduces itself with, or undefined. */
function nameAt(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    let text = "";
    const end = (name: string | undefined) => {
      socket.destroy();
      resolve(name);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => end(undefined));
    socket.once("error", () => end(undefined));
    socket.once("close", () => end(undefined));
    socket.on("data", (chunk) => {
      text += chunk.toString("utf8");
      if (text.includes("\r\n")) end(/"server_name":"([^"]*)"/.exec(text)?.[1]);
    });
  });
}

function startError(server: ServerProcess, how: string, port: number, dataDir: string): NatsConfigError {
  const log = server.lastLines.join("\n");
  const cause = new ServerStartError(how, server.lastLines);
  const taken = /listen\w* .*?:(\d+): bind: address already in use|:(\d+).*address already in use/.exec(log);
  if (taken !== null || /address already in use/.test(log))
    return new PortTakenError(Number(taken?.[1] ?? taken?.[2] ?? port), { cause });
  if (/permission denied|read-only file system|no space left|storage directory/i.test(log))
    return new DataDirError(dataDir, cause);
  return cause;
}

/**
 * Resolves when the server named `name` answers on `port` of `host`, by default the loopback.
 * @throws {PortTakenError} {@link DataDirError} {@link ServerStartError} It ended instead, or stayed silent.
 */
export async function untilReady(
  server: ServerProcess,
  expected: { name: string; host?: string; port: number; dataDir: string },
): Promise<void> {
  const deadline = deadlineIn(START_DEADLINE_MS);
  while ((await nameAt(expected.host ?? LOOPBACK, expected.port)) !== expected.name) {
    if (server.hasExited) throw startError(server, await server.exited, expected.port, expected.dataDir);
    if (deadline.expired) {
      await server.stop();
      throw startError(server, `no answer within ${START_DEADLINE_MS} ms`, expected.port, expected.dataDir);
    }
    await pause(POLL_MS);
  }
}
