/**
 * Events of devices, published while things die. Invariant: each distinct event is repeated until the stream has it, and a part
 * arrives again on every way on which a duplicate can come.
 */
import type { LabHost } from "../../../gateway/lab/hosts.ts";
import type { Names } from "../../../nats-config/subjects.ts";
import type { Broker } from "../../../runtime/port.ts";
import { HEAL_DEADLINE_MS } from "./cluster.ts";
import type { Random } from "./random.ts";
import { pass, until } from "./wait.ts";

/** Coalesced by the agent while a task of the same device is under way. */
export const ALERT = "alert.blackscreen";
/** Never coalesced: one task each. */
export const CHECK = "check.requested";
const PAUSE_MAX_MS = 700;
/** One event in so many is published twice. */
const TWICE_IN = 3;

export interface SentEvent {
  readonly key: string;
  readonly type: string;
  readonly device: string;
  /** When it was stored, in ms since 1970. */
  readonly storedAtMs: number;
}

export interface LoadReport {
  /** Stored in the stream INGRESS, for certain. */
  readonly accepted: readonly SentEvent[];
  readonly duplicates: number;
  /** Tries that ended without an acknowledgement and were repeated. */
  readonly repeats: number;
}

/** Again under the same message id; again without one, so that the server cannot tell; again behind the first filter. */
type Way = "same-id" | "no-id" | "pool";
const WAYS: readonly Way[] = ["same-id", "no-id", "pool"];

export class JobLoad {
  readonly #broker: Broker;
  readonly #names: Names;
  readonly #accepted: SentEvent[] = [];
  #duplicates = 0;
  #repeats = 0;

  constructor(broker: Broker, names: Names) {
    this.#broker = broker;
    this.#names = names;
  }

  /** Publishes `count` events at seeded moments; resolves when all of them are stored. */
  async run(random: Random, hosts: readonly LabHost[], count: number): Promise<LoadReport> {
    const devices = hosts.flatMap((host) => host.devices.map(({ id }) => ({ host: host.name, device: id })));
    const sending: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      const { host, device } = random.pick(devices);
      const way = random.int(0, TWICE_IN) === 0 ? random.pick(WAYS) : null;
      sending.push(this.#send(`e${i}`, random.pick([ALERT, CHECK]), host, device, way));
      await pass(random.int(0, PAUSE_MAX_MS));
    }
    await Promise.all(sending);
    return { accepted: this.#accepted, duplicates: this.#duplicates, repeats: this.#repeats };
  }

  /** Publishes one alert of each device; resolves with their keys when all of them are stored. */
  async alertAll(id: string, hosts: readonly LabHost[]): Promise<string[]> {
    const devices = hosts.flatMap(({ name, devices: of }) => of.map((device) => [name, device.id] as const));
    await Promise.all(devices.map(([host, device]) => this.#send(id, ALERT, host, device, null)));
    return devices.map(([host, device]) => `device/${host}/${device}/${id}`);
  }

  /** Everything that is stored, for certain. */
  get accepted(): readonly SentEvent[] {
    return this.#accepted;
  }

  async #send(id: string, type: string, host: string, device: string, way: Way | null): Promise<void> {
    const source = `device/${host}/${device}`;
    const time = new Date().toISOString();
    const event = { specversion: "1.0", id, source, type, time, data: { status: "active" } };
    const subject = this.#names.deviceEvent(host, device, type);
    const key = `${source}/${id}`;
    await this.#store(subject, event, key);
    this.#accepted.push({ key, type, device: `${host}:${device}`, storedAtMs: Date.now() });
    if (way === null) return;
    this.#duplicates++;
    if (way === "same-id") await this.#store(subject, event, key);
    else if (way === "no-id") await this.#store(subject, event);
    else {
      const [pool, priority] = type === ALERT ? ["shared.alerts", "critical"] : ["shared.events", "normal"];
      const place = { host, device };
      await this.#store(this.#names.pool(pool, priority, type), { id, source, type, data: event.data, device: place });
    }
  }

  async #store(subject: string, body: object, messageId?: string): Promise<void> {
    const data = Buffer.from(JSON.stringify(body));
    await until(`"${subject}" to be stored`, HEAL_DEADLINE_MS, async () => {
      try {
        await this.#broker.append(subject, data, messageId === undefined ? {} : { messageId });
        return true;
      } catch (error) {
        if ((error as { retryable?: boolean }).retryable !== true) throw error;
        this.#repeats++;
        return false;
      }
    });
  }
}
