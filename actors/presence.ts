/**
 * Tells device actors when their devices come and go. Invariant: every edge of the heartbeats reaches the device's actor
 * through the node that owns it, and a new owner corrects what its predecessors or an outage left wrong.
 */
import type { Node } from "../runtime/api.ts";
import { sleep } from "../runtime/clock.ts";
import { TroupeError } from "../runtime/errors.ts";
import type { Shard } from "../runtime/families.ts";
import type { StoredMessage, Subscription } from "../runtime/port.ts";
import { readHeartbeat } from "./heartbeat.ts";
import type { DeviceFacts, DeviceMessage } from "./messages/device.ts";
import { deviceId } from "./messages/event.ts";
import type { PumpDeps } from "./pump.ts";

/** Devices that a node keeps in view at most: several sites. Further ones are reported and not followed. */
export const PRESENCE_LIMIT = 10_000;
/** Pause before telling a device again, in ms; doubles up to {@link TELL_PAUSE_MAX_MS}. */
const TELL_PAUSE_MIN_MS = 200;
const TELL_PAUSE_MAX_MS = 5_000;
/** Devices looked up at once after a gain of shards: a share of the client's calls. */
const LOOKUPS_AT_ONCE = 32;

interface Known {
  /** Null: silent. */
  facts: DeviceFacts | null;
  /** What the actor was last told from here, as text; null: nothing yet. */
  told: string | null;
  isTelling: boolean;
}

export class Presence {
  readonly #deps: PumpDeps;
  readonly #node: Node;
  readonly #known = new Map<string, Known>();
  readonly #busy = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #subscription: Subscription | undefined;
  #isFull = false;

  constructor(deps: PumpDeps, node: Node) {
    this.#deps = deps;
    this.#node = node;
  }

  async start(): Promise<void> {
    const { broker, names } = this.#deps;
    this.#node.onShards((gained, lost) => this.#onShards(gained, lost));
    this.#subscription = await broker.follow(
      names.stream.presence,
      { subjects: [names.deviceHeartbeats], from: "last" },
      (message) => this.hear(message),
    );
    this.#track(this.#reconcile(new Set(this.#node.ownedShards())));
  }

  /** Takes one message of the stream, live or looked up. */
  hear(message: Pick<StoredMessage, "subject" | "data" | "header">): void {
    const heard = readHeartbeat(message, this.#deps.names);
    if (heard === null || this.#stop.signal.aborted) return;
    const id = deviceId(heard.place);
    const known = this.#known.get(id);
    if (known === undefined) {
      if (!this.#hasRoom()) return;
      this.#known.set(id, { facts: heard.facts, told: null, isTelling: false });
    } else known.facts = heard.facts;
    this.#tell(id);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("Presence was stopped"));
    this.#subscription?.unsubscribe();
    await Promise.all(this.#busy);
  }

  #hasRoom(): boolean {
    const isFull = this.#known.size >= PRESENCE_LIMIT;
    if (isFull && !this.#isFull)
      this.#deps.log.error({ limit: PRESENCE_LIMIT }, "Too many devices: further ones are not followed");
    this.#isFull = isFull;
    return !isFull;
  }

  /** Starts telling unless that is under way already; the last heartbeat wins. */
  #tell(id: string): void {
    const known = this.#known.get(id);
    if (known === undefined || known.isTelling || !this.#needsTelling(id, known)) {
      if (known?.facts === null && !known.isTelling) this.#known.delete(id); // its actor knows, or its owner tells it
      return;
    }
    known.isTelling = true;
    this.#track(
      this.#tellUntilDone(id, known).finally(() => {
        known.isTelling = false;
        if (!this.#stop.signal.aborted) this.#tell(id);
      }),
    );
  }

  #needsTelling(id: string, known: Known): boolean {
    return this.#node.owns({ kind: "device", id }) && known.told !== JSON.stringify(known.facts);
  }

  async #tellUntilDone(id: string, known: Known): Promise<void> {
    const { signal } = this.#stop;
    for (
      let pause = TELL_PAUSE_MIN_MS;
      this.#needsTelling(id, known) && !signal.aborted;
      pause = Math.min(2 * pause, TELL_PAUSE_MAX_MS)
    ) {
      const text = JSON.stringify(known.facts);
      const event: DeviceMessage = known.facts === null ? { type: "silent" } : { type: "online", facts: known.facts };
      try {
        await this.#node.client.tell("device", id, event, { signal });
        known.told = text;
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#deps.log.warn({ err: error, device: id }, "Device cannot be told of its presence yet");
        if (!(error instanceof TroupeError && error.retryable)) {
          known.told = text; // repeating the same would fail the same
          return;
        }
        await this.#pause(pause);
      }
    }
  }

  #onShards(gained: readonly Shard[], lost: readonly Shard[]): void {
    const moved = new Set([...gained, ...lost]);
    for (const [id, known] of this.#known) if (moved.has(this.#shardOf(id))) known.told = null;
    if (gained.length > 0 && !this.#stop.signal.aborted) this.#track(this.#reconcile(new Set(gained)));
  }

  /** Brings the actors of gained shards in line with the heartbeats of now. */
  async #reconcile(gained: ReadonlySet<Shard>): Promise<void> {
    const { broker, names, log } = this.#deps;
    for (let pause = TELL_PAUSE_MIN_MS; !this.#stop.signal.aborted; pause = Math.min(2 * pause, TELL_PAUSE_MAX_MS)) {
      try {
        for (const message of await broker.readLast(names.stream.presence, names.deviceHeartbeats, PRESENCE_LIMIT))
          this.hear(message);
        for (const id of [...this.#known.keys()]) if (gained.has(this.#shardOf(id))) this.#tell(id);
        await this.#silenceTheAbsent(gained);
        return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        log.warn({ err: error }, "Presence cannot be looked up yet");
        await this.#pause(pause);
      }
    }
  }

  /** While no node was up a device may have gone and its marker too: its actor still believes it online. */
  async #silenceTheAbsent(gained: ReadonlySet<Shard>): Promise<void> {
    const { client } = this.#node;
    const listed = await client.list("device");
    const absent = listed.map(({ id }) => id).filter((id) => gained.has(this.#shardOf(id)) && !this.#known.has(id));
    for (let first = 0; first < absent.length; first += LOOKUPS_AT_ONCE) {
      await Promise.all(absent.slice(first, first + LOOKUPS_AT_ONCE).map((id) => this.#silence(id)));
    }
  }

  async #silence(id: string): Promise<void> {
    const { signal } = this.#stop;
    const { client } = this.#node;
    try {
      const isOnline = (await client.query("device", id, { signal })).value === "online";
      // A heartbeat may have come meanwhile: then it is known, and what it says counts.
      if (isOnline && !this.#known.has(id)) await client.tell("device", id, { type: "silent" }, { signal });
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) throw error;
      this.#deps.log.error({ err: error, device: id }, "Device cannot be told that it is silent");
    }
  }

  #shardOf(id: string): Shard {
    return this.#node.shardOf({ kind: "device", id });
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.#busy.delete(tracked));
    this.#busy.add(tracked);
  }

  async #pause(delayMs: number): Promise<void> {
    await sleep(this.#deps.clock, delayMs, this.#stop.signal).catch(() => undefined); // stopped: the caller's loop ends
  }
}
