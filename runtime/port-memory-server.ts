/**
 * The server of the in-memory broker: who listens, which streams exist, what reaches whom. Invariant: one message is routed
 * at a time, to listeners in the order they subscribed.
 */
import type { StreamSpec } from "../nats-config/streams.ts";
import type { Clock } from "./clock.ts";
import { BrokerUnavailableError, TroupeError } from "./errors.ts";
import type { ConsumeOptions, HeaderBag, StoredMessage } from "./port.ts";
import { MemoryGroup } from "./port-memory-group.ts";
import { MemoryStream } from "./port-memory-stream.ts";
import type { Matcher } from "./port-memory-subject.ts";

export interface Packet {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: HeaderBag;
  readonly reply: string | undefined;
}

/** Sees what the server does, past every wire: for auditors. */
export interface MemoryTap {
  /** A core message, before any listener hears it. */
  onPacket?(packet: Packet): void;
  /** A message that a stream took, before its publisher hears so. */
  onStored?(message: StoredMessage): void;
}

/** One subscription; `send` puts the packet on the subscriber's wire. */
export interface Interest {
  readonly matches: Matcher;
  readonly send: (packet: Packet) => void;
}

export class MemoryServer {
  readonly clock: Clock;
  readonly #tap: MemoryTap;
  readonly #streams = new Map<string, MemoryStream>();
  readonly #groups = new Map<string, MemoryGroup>();
  readonly interests = new Set<Interest>();

  constructor(clock: Clock, tap: MemoryTap = {}) {
    this.clock = clock;
    this.#tap = tap;
  }

  addStreams(specs: readonly StreamSpec[]): void {
    for (const spec of specs) {
      if (this.#streams.has(spec.name))
        throw new RangeError(`The world has a stream "${spec.name}" already: give each its own name`);
      this.#streams.set(spec.name, new MemoryStream(this.clock, spec, (message) => this.#tap.onStored?.(message)));
    }
  }

  /**
   * @throws {BrokerUnavailableError} As a real server that has no such stream, or no leader for it, answers nothing of use.
   */
  stream(name: string): MemoryStream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new BrokerUnavailableError(`No stream "${name}" answers: create it first`);
    return stream;
  }

  group(streamName: string, options: ConsumeOptions): MemoryGroup {
    const key = `${streamName} ${options.durable}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    const group = new MemoryGroup(this.clock, this.stream(streamName), options);
    this.#groups.set(key, group);
    return group;
  }

  /** Publishes into a stream and gives the sequence: what an acknowledged append is. */
  append(subject: string, data: Uint8Array, headers: HeaderBag): number {
    this.#toListeners({ subject, data, headers, reply: undefined });
    const stream = this.#streamOf(subject);
    if (stream === undefined) throw new BrokerUnavailableError(`No stream takes "${subject}": create it first`);
    return stream.store(subject, data, headers).seq;
  }

  /** Core publish. False when a reply is wanted and nobody can give one. */
  publish(packet: Packet): boolean {
    this.#tap.onPacket?.(packet);
    const heard = this.#toListeners(packet);
    const stream = this.#streamOf(packet.subject);
    if (stream === undefined) return heard || packet.reply === undefined;
    const answer = acknowledgement(stream, packet);
    if (packet.reply !== undefined)
      this.publish({ subject: packet.reply, data: answer, headers: {}, reply: undefined });
    return true;
  }

  #toListeners(packet: Packet): boolean {
    let heard = false;
    for (const interest of this.interests) {
      if (!interest.matches(packet.subject)) continue;
      heard = true;
      interest.send(packet);
    }
    return heard;
  }

  #streamOf(subject: string): MemoryStream | undefined {
    for (const stream of this.#streams.values()) if (stream.takes(subject)) return stream;
    return undefined;
  }
}

/** A stream answers a plain publish in the server's own words. */
function acknowledgement(stream: MemoryStream, { subject, data, headers }: Packet): Uint8Array {
  const encoder = new TextEncoder();
  try {
    return encoder.encode(JSON.stringify({ stream: stream.name, ...stream.store(subject, data, headers) }));
  } catch (refusal) {
    if (!(refusal instanceof TroupeError)) throw refusal;
    return encoder.encode(
      JSON.stringify({ error: { code: 400, description: refusal.message }, stream: stream.name, seq: 0 }),
    );
  }
}
