/**
 * Simulated hosts whose every command is kept, as answered and as run, and which get late packets: each newer token at a door is
 * followed by a command of an older one. Invariant: records stand in the order in which the door was done with them.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import type { LabHost } from "../../../gateway/lab/hosts.ts";
import { type RunningLabHost, startLabHost } from "../../../gateway/lab/lab-host.ts";
import type { Names } from "../../../nats-config/subjects.ts";
import type { Broker } from "../../../runtime/port.ts";

/** Incidents of the simulation's own would be alerts that nobody counted: beyond any run, in ms. */
const NEVER_MS = 86_400_000;

export interface DoorRecord {
  /** `<host>:<device>` */
  readonly device: string;
  readonly command: string;
  readonly token: number;
  readonly task: string;
  readonly step: string;
  readonly invocationId: string;
  readonly accepted: boolean;
  readonly code: string | null;
  /** True for a packet that the harness repeated under an old token. */
  readonly late: boolean;
  /** Monotonic ms. */
  readonly atMs: number;
}

/** One command that the device did: an answer from memory is none. */
export interface DeviceRun {
  readonly device: string;
  readonly command: string;
  readonly token: number;
  readonly invocationId: string;
}

type Command = Pick<DoorRecord, "command" | "token" | "task" | "step" | "invocationId">;

/** What a host logs of a command, as far as it is read here. */
interface RunLine extends DeviceRun {
  readonly msg: "command runs";
}
interface AnswerLine {
  readonly msg: "command";
  readonly device: string;
  readonly request: Command;
  readonly ok: boolean;
  readonly code?: string;
}

export class DoorLog {
  readonly records: DoorRecord[] = [];
  readonly runs: DeviceRun[] = [];
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #last = new Map<string, Command>();
  #hosts: RunningLabHost[] = [];
  #dataDir = "";
  #late = 0;

  constructor(broker: Broker, names: Names) {
    this.#broker = broker;
    this.#names = names;
  }

  async start(hosts: readonly LabHost[], seed: number): Promise<void> {
    this.#dataDir = await mkdtemp(join(tmpdir(), "troupe-doors-"));
    const plan = { seed, firstIncidentMs: NEVER_MS, minGapMs: NEVER_MS, maxGapMs: NEVER_MS };
    const [broker, names, dataDir] = [this.#broker, this.#names, this.#dataDir];
    this.#hosts = await Promise.all(
      hosts.map((host) => {
        const log = pino(
          { level: "info" },
          { write: (line) => this.#take(host.name, JSON.parse(line) as RunLine | AnswerLine) },
        );
        return startLabHost({ host, broker, names, dataDir, plan, log });
      }),
    );
  }

  async stop(): Promise<void> {
    for (const host of this.#hosts) host.stop();
    await rm(this.#dataDir, { recursive: true, force: true });
  }

  #take(host: string, line: RunLine | AnswerLine): void {
    const id = `${host}:${line.device}`;
    if (line.msg === "command runs") {
      const { command, token, invocationId } = line;
      this.runs.push({ device: id, command, token, invocationId });
    }
    if (line.msg === "command") this.#answered(host, id, line);
  }

  #answered(host: string, id: string, { device, request, ok, code }: AnswerLine): void {
    const { command, token, task, step, invocationId } = request;
    const late = invocationId.startsWith("late-");
    const atMs = performance.now();
    this.records.push({
      device: id,
      command,
      token,
      task,
      step,
      invocationId,
      accepted: ok,
      code: code ?? null,
      late,
      atMs,
    });
    const last = this.#last.get(id);
    if (late || !ok || (last !== undefined && token <= last.token)) return;
    this.#last.set(id, request);
    if (last !== undefined) this.#repeatLate(this.#names.deviceCommand(host, device), last);
  }

  /** A packet of the former holder that the network kept: a new action to the door, as a zombie's next one is. */
  #repeatLate(subject: string, command: Command): void {
    const packet = { ...command, invocationId: `late-${++this.#late}` };
    this.#broker.publish(subject, Buffer.from(JSON.stringify(packet)));
  }
}
