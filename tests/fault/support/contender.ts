/**
 * Clients that quarrel about locks and drive what they hold: some give back, some vanish, some sleep past their lease and then
 * send. Invariant: what a door let in is recorded in its order, with the name under which the token was granted.
 */
import { readLease } from "../../../actors/lease-store.ts";
import type { ResourceReply } from "../../../actors/messages/resource.ts";
import { DeviceDoor } from "../../../gateway/lab/door.ts";
import type { Client } from "../../../runtime/api.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { PRIORITIES } from "../../../runtime/priority.ts";
import type { Random } from "./random.ts";
import { pass } from "./wait.ts";

/** Short, so that whoever vanishes is soon replaced, in ms. */
export const CONTENDER_TTL_MS = 1_000;
/** Longer than any fail-over, in ms. */
const DEADLINE_MS = 30_000;
/** A waiter gives up after this, in ms. */
const PATIENCE_MS = 20_000;

export interface Act {
  readonly resource: string;
  readonly token: number;
  readonly holder: string;
}

export class Arena {
  /** Commands that a door let in, in order. */
  readonly acts: Act[] = [];
  /** Who was told of a token: `<resource> <token>`. */
  readonly granted = new Map<string, string>();
  readonly breaches: string[] = [];
  readonly counts = { granted: 0, released: 0, vanished: 0, overslept: 0, gaveUp: 0, driven: 0, refused: 0 };
  readonly #client: Client;
  readonly #doors: ReadonlyMap<string, DeviceDoor>;
  #invocations = 0;

  constructor(client: Client, resources: readonly string[]) {
    this.#client = client;
    this.#doors = new Map(resources.map((resource) => [resource, this.#doorOf(resource)]));
  }

  /** One contender's lives, one after the other, until `isOver`. */
  async contend(name: string, random: Random, isOver: () => boolean): Promise<void> {
    const resources = [...this.#doors.keys()];
    for (let life = 1; !isOver(); life++) {
      const holder = `client/${name}-${life}`;
      const resource = random.pick(resources);
      const token = await this.#waitFor(resource, holder, random);
      if (token !== null) await this.#hold(resource, holder, token, random);
    }
  }

  async #waitFor(resource: string, holder: string, random: Random): Promise<number | null> {
    const acquire = { type: "acquire", priority: random.pick(PRIORITIES), ttlMs: CONTENDER_TTL_MS, holder };
    const untilMs = performance.now() + PATIENCE_MS;
    while (performance.now() < untilMs) {
      const reply = await this.#ask(resource, acquire);
      if (reply.ok && reply.state === "granted") {
        this.#noteGrant(resource, reply.token, holder);
        return reply.token;
      }
      await pass(random.int(10, 60));
    }
    this.counts.gaveUp++;
    await this.#ask(resource, { type: "cancel", holder });
    return null;
  }

  #noteGrant(resource: string, token: number, holder: string): void {
    const key = `${resource} ${token}`;
    const before = this.granted.get(key);
    if (before !== undefined && before !== holder)
      this.breaches.push(`${key} was granted to ${before} and to ${holder}`);
    this.granted.set(key, holder);
    this.counts.granted++;
  }

  async #hold(resource: string, holder: string, token: number, random: Random): Promise<void> {
    const mood = random.next();
    for (let i = random.int(1, 4); i > 0; i--) {
      await this.#drive(resource, token);
      await pass(random.int(0, 30));
    }
    if (mood < 0.15) {
      this.counts.vanished++;
      return;
    }
    if (mood < 0.3) {
      // Paused past its lease, it wakes and believes that it still holds.
      await pass(CONTENDER_TTL_MS + random.int(50, 500));
      this.counts.overslept++;
      if (await this.#drive(resource, token))
        this.breaches.push(`${holder} drove ${resource} after its lease was over`);
      return;
    }
    const reply = await this.#ask(resource, { type: "release", token, holder });
    if (reply.ok) this.counts.released++;
  }

  async #drive(resource: string, token: number): Promise<boolean> {
    const command = { command: "press_key", params: {}, token, invocationId: `i${++this.#invocations}` };
    const answer = await this.#doors.get(resource)?.handle(command);
    this.counts[answer?.ok === true ? "driven" : "refused"]++;
    return answer?.ok === true;
  }

  #doorOf(resource: string): DeviceDoor {
    const { broker, names } = this.#client;
    let highest = 0;
    return new DeviceDoor({
      device: resource,
      clock: systemClock,
      readLease: () => readLease({ broker, names }, resource),
      tokens: {
        get highest() {
          return highest;
        },
        raise: async (token) => {
          highest = Math.max(highest, token);
        },
      },
      run: async ({ token }) => {
        this.acts.push({ resource, token, holder: this.granted.get(`${resource} ${token}`) ?? "nobody" });
        return { ok: true, output: null, evidence: [] };
      },
    });
  }

  async #ask(
    resource: string,
    event: { readonly type: string; readonly holder: string; readonly token?: number },
  ): Promise<ResourceReply> {
    return (await this.#client.ask("resource", resource, event, { deadlineMs: DEADLINE_MS })) as ResourceReply;
  }
}
