/**
 * One device of a lab host with everything that speaks for it: heartbeats, alerts, the door for commands. Invariant: while it
 * is silent nothing of it is heard and nothing reaches it.
 */
import { join } from "node:path";
import type { Logger } from "pino";
import { readLease } from "../../actors/index.ts";
import type { Names } from "../../nats-config/subjects.ts";
import type { Clock, TimerHandle } from "../../runtime/clock.ts";
import type { Broker, InboundMessage, Subscription } from "../../runtime/port.ts";
import { runCommand } from "./commands.ts";
import { SimulatedDevice } from "./device.ts";
import { DeviceDoor } from "./door.ts";
import type { LabDevice, LabHost } from "./hosts.ts";
import { Outbox } from "./outbox.ts";
import type { PlannedIncident, PlannedZap } from "./plan.ts";
import { channelOf } from "./screen.ts";
import { every, type Ticker } from "./ticker.ts";
import { openTokenFile } from "./token-file.ts";
import { type AlertRecord, ANALYSE_EVERY_MS, FrameWatcher, uuid } from "./watcher.ts";

/** Pause between two heartbeats, in ms: a fifth of the presence's time to live, so that one lost message is no silence. */
export const HEARTBEAT_MS = 3_000;
/** The simulation does nothing to a device that was driven within this time, in ms: a person or task works with it. */
const HANDS_OFF_MS = 10_000;

export interface StationDeps {
  readonly host: LabHost;
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where the door keeps its tokens. */
  readonly dataDir: string;
}

export class Station {
  readonly device: SimulatedDevice;
  readonly #deps: StationDeps;
  readonly #outbox: Outbox;
  readonly #door: DeviceDoor;
  readonly #watcher: FrameWatcher;
  readonly #tickers: Ticker[];
  #listening: Subscription | undefined;
  #silent = false;
  #healing: TimerHandle | undefined;
  #zaps = 0;

  static async open(deps: StationDeps, facts: LabDevice): Promise<Station> {
    const device = new SimulatedDevice(deps.host.name, facts, deps.clock);
    const tokens = await openTokenFile(join(deps.dataDir, `${deps.host.name}.${facts.id}.token`));
    const name = `${deps.host.name}:${facts.id}`;
    const door = new DeviceDoor({
      device: name,
      tokens,
      clock: deps.clock,
      readLease: () => readLease(deps, name),
      run: ({ command, params, token, invocationId }, signal) => {
        deps.log.info({ device: facts.id, command, token, invocationId }, "command runs");
        return runCommand(device, command, params, { clock: deps.clock, signal });
      },
    });
    return new Station(deps, device, door);
  }

  private constructor(deps: StationDeps, device: SimulatedDevice, door: DeviceDoor) {
    this.#deps = deps;
    this.device = device;
    this.#door = door;
    this.#outbox = new Outbox({ broker: deps.broker, clock: deps.clock, log: deps.log });
    this.#watcher = new FrameWatcher(device, deps.clock, (alert) => this.#alert(alert));
    this.#listen();
    this.#tickers = [
      every(deps.clock, HEARTBEAT_MS, () => this.#heartbeat()),
      every(deps.clock, ANALYSE_EVERY_MS, () => this.#silent || this.#watcher.look()),
    ];
  }

  /** Begins a planned incident, unless one is under way or somebody works with the device. Says whether it did. */
  suffer({ kind, durationMs }: PlannedIncident): boolean {
    if (this.#silent || this.#healing !== undefined || this.device.drivenWithin(HANDS_OFF_MS)) return false;
    this.#deps.log.info({ device: this.device.facts.id, kind, durationMs }, "incident begins");
    if (kind === "silence") this.#fallSilent();
    else this.device.begin(kind);
    this.#healing = this.#deps.clock.setTimeout(() => this.#heal(), durationMs);
    return true;
  }

  zap({ key, durationS, blackS }: PlannedZap): void {
    const { screen, facts, host } = this.device;
    if (this.#silent || screen.incident !== null || screen.app !== "live" || screen.power !== "on") return;
    if (facts.model === "host_vnc" || this.device.drivenWithin(HANDS_OFF_MS)) return;
    this.device.zap(key);
    const channel = channelOf(this.device.screen);
    this.#event("zap", uuid(this.#deps.clock), {
      host_name: host,
      device_id: facts.id,
      device_name: facts.name,
      device_model: facts.model,
      action_command: key,
      iteration_index: ++this.#zaps,
      duration_seconds: durationS,
      motion_detected: true,
      subtitles_detected: false,
      audio_speech_detected: facts.audio ? true : null,
      blackscreen_freeze_detected: true,
      blackscreen_freeze_duration_seconds: blackS,
      detection_method: "automatic",
      channel_name: channel.name,
      channel_number: String(channel.number),
      program_name: channel.program,
      confidence: 0.92,
    });
  }

  stop(): void {
    for (const ticker of this.#tickers) ticker.stop();
    this.#deps.clock.clearTimeout(this.#healing);
    this.#listening?.unsubscribe();
    this.#outbox.stop();
  }

  #heal(): void {
    this.#healing = undefined;
    this.device.end();
    if (!this.#silent) return;
    this.#silent = false;
    this.#listen();
    this.#heartbeat();
  }

  #fallSilent(): void {
    this.#silent = true;
    this.#listening?.unsubscribe();
    this.#listening = undefined;
  }

  #listen(): void {
    const { names, broker } = this.#deps;
    const subject = names.deviceCommand(this.device.host, this.device.facts.id);
    this.#listening = broker.subscribe(subject, (message) => void this.#answer(message));
  }

  /** Never rejects: the door answers whatever comes. */
  async #answer({ data, reply }: InboundMessage): Promise<void> {
    let body: unknown;
    try {
      body = JSON.parse(Buffer.from(data).toString("utf8"));
    } catch {
      body = undefined; // The door says what a command looks like.
    }
    const answer = await this.#door.handle(body);
    this.#deps.log.info(
      { device: this.device.facts.id, request: body, ok: answer.ok, ...(answer.ok ? {} : { code: answer.code }) },
      "command",
    );
    if (this.device.screen.incident === null && !this.#silent) this.#forgetIncident();
    if (reply !== undefined) this.#deps.broker.publish(reply, Buffer.from(JSON.stringify(answer)));
  }

  /** A command mended the picture: the next incident may come. */
  #forgetIncident(): void {
    this.#deps.clock.clearTimeout(this.#healing);
    this.#healing = undefined;
  }

  #heartbeat(): void {
    if (this.#silent) return;
    const { broker, names, clock } = this.#deps;
    const { host, facts, screen } = this.device;
    const body = {
      host_name: host,
      device_id: facts.id,
      model: facts.model,
      name: facts.name,
      capabilities: facts.capabilities,
      timestamp: clock.now() / 1_000,
      ffmpeg_status: "active",
      monitor_status: "active",
      power: screen.power,
    };
    broker.publish(names.deviceHeartbeat(host, facts.id), Buffer.from(JSON.stringify(body)));
  }

  #alert(alert: AlertRecord): void {
    const type = `alert.${alert.incident_type}`;
    if (alert.status === "active") {
      this.#event(type, alert.id, alert);
      return;
    }
    // The record keeps its id, so the event that tells of the end needs one of its own: CloudEvents carry both.
    const { host, facts } = this.device;
    const id = `${alert.id}-resolved`;
    this.#event(type, id, {
      specversion: "1.0",
      id,
      source: `device/${host}/${facts.id}`,
      type,
      time: alert.end_time,
      data: alert,
    });
  }

  #event(type: string, id: string, body: unknown): void {
    const { names } = this.#deps;
    this.#outbox.send({ subject: names.deviceEvent(this.device.host, this.device.facts.id, type), id, body });
  }
}
