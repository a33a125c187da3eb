/**
 * The worker processes of a bench and what the kernel says of them. Invariant: every worker that was forked is ended before
 * the bench ends, also when it fails. CPU and memory are read from /proc: on other systems they are shown as 0.
 */
import { type ChildProcess, fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on. */
const TICKS_PER_S = 100;
/** A worker that takes longer to be ready, or to end, is broken: in ms. */
const PATIENCE_MS = 20_000;

/** Whose CPU is counted under which name. */
export type Processes = Readonly<Record<string, number | readonly number[]>>;

export interface CpuSample {
  readonly atMs: number;
  readonly seconds: Readonly<Record<string, number>>;
  readonly machine: number;
}

const alive = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of alive) child.kill("SIGKILL");
});

/** A forked process that answers questions by name. */
export class Worker {
  /** What it told when it was ready. */
  readonly greeting: Readonly<Record<string, unknown>>;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, greeting: Readonly<Record<string, unknown>>) {
    this.#child = child;
    this.greeting = greeting;
  }

  /** Forks `file` of this folder; resolves when it says that it is ready. */
  static async start(file: string, args: readonly string[]): Promise<Worker> {
    const profile = process.env["BENCH_PROFILE_DIR"];
    const execArgv = [
      "--expose-gc",
      ...(profile === undefined
        ? []
        : ["--cpu-prof", `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${file}-${Date.now()}.cpuprofile`]),
    ];
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
      execArgv,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    alive.add(child);
    child.once("exit", () => alive.delete(child));
    return new Worker(child, await heard(child, "ready"));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async ask(question: string): Promise<Readonly<Record<string, unknown>>> {
    const answer = heard(this.#child, question);
    this.#child.send({ question });
    return await answer;
  }

  async stop(): Promise<void> {
    if (!alive.has(this.#child)) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    const late = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_MS);
    this.#child.send({ question: "stop" });
    await gone;
    clearTimeout(late);
  }
}

interface Answer {
  readonly to: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** The worker's side: says that it is ready, then answers. */
export function serve(
  greeting: Readonly<Record<string, unknown>>,
  answers: Readonly<Record<string, () => unknown>>,
): void {
  process.on("message", (message) => {
    const { question } = message as { question: string };
    void Promise.resolve(answers[question]?.()).then((value) => {
      process.send?.({ to: question, value: value ?? {} });
      if (question === "stop") process.disconnect();
    });
  });
  process.send?.({ to: "ready", value: greeting });
}

function heard(child: ChildProcess, to: string): Promise<Answer["value"]> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      clearTimeout(late);
      child.off("message", onMessage).off("exit", onExit);
      act();
    };
    const onMessage = (message: unknown) => {
      if ((message as Answer).to === to) settle(() => resolve((message as Answer).value));
    };
    const onExit = (code: number | null) =>
      settle(() => reject(new Error(`The worker ended with ${code} before it answered "${to}"`)));
    const late = setTimeout(
      () => settle(() => reject(new Error(`The worker did not answer "${to}" within ${PATIENCE_MS} ms`))),
      PATIENCE_MS,
    );
    child.on("message", onMessage).once("exit", onExit);
  });
}

export function sampleCpu(processes: Processes): CpuSample {
  const { user, system } = process.cpuUsage();
  const seconds: Record<string, number> = { client: (user + system) / 1e6 };
  for (const [name, pids] of Object.entries(processes))
    seconds[name] = [pids].flat().reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  return { atMs: performance.now(), seconds, machine: machineSeconds() };
}

/** Cores kept busy between two samples: by each process, and by everybody else. */
export function busyCores(
  before: CpuSample,
  after: CpuSample,
): { readonly cpu: Readonly<Record<string, number>>; readonly other: number } {
  const span = (after.atMs - before.atMs) / 1_000;
  const cpu: Record<string, number> = {};
  let ours = 0;
  for (const [name, seconds] of Object.entries(after.seconds)) {
    const spent = seconds - (before.seconds[name] ?? 0);
    ours += spent;
    cpu[name] = Number((spent / span).toFixed(3));
  }
  return { cpu, other: Number(Math.max(0, (after.machine - before.machine - ours) / span).toFixed(2)) };
}

/** Memory of a process in MiB, pages shared with others counted in proportion. */
export function pssMb(pid: number): number {
  const kb = /^Pss:\s+(\d+)/m.exec(readProc(`/proc/${pid}/smaps_rollup`))?.[1] ?? "0";
  return Number((Number(kb) / 1_024).toFixed(1));
}

function cpuSeconds(pid: number): number {
  const fields = readProc(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_S;
}

/** All cores, without idle and waiting for disks. */
function machineSeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (
    readProc("/proc/stat").split("\n")[0] ?? ""
  )
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) / TICKS_PER_S;
}

function readProc(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the process has ended, or this is no Linux
  }
}
