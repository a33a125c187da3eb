/** A skill as a NATS service that works for a while. Invariant: each key is worked on once, and answered as often as it is asked. */
import type { Names } from "../../../nats-config/subjects.ts";
import type { Broker, Subscription } from "../../../runtime/port.ts";
import { pass } from "./wait.ts";

export interface SkillServiceRun {
  readonly task: string;
  readonly invocationId: string;
}

export class SkillService {
  readonly runs: SkillServiceRun[] = [];
  readonly #broker: Broker;
  readonly #workMs: number;
  readonly #subscription: Subscription;
  readonly #work = new Map<string, Promise<void>>();

  constructor(broker: Broker, names: Names, name: string, workMs: number) {
    this.#broker = broker;
    this.#workMs = workMs;
    this.#subscription = broker.subscribe(names.skill(name), ({ data, reply }) => {
      void this.#answer(JSON.parse(new TextDecoder().decode(data)) as SkillServiceRun, reply ?? "");
    });
  }

  stop(): void {
    this.#subscription.unsubscribe();
  }

  async #answer({ task, invocationId }: SkillServiceRun, reply: string): Promise<void> {
    let work = this.#work.get(invocationId);
    if (work === undefined) {
      this.runs.push({ task, invocationId });
      work = pass(this.#workMs);
      this.#work.set(invocationId, work);
    }
    await work;
    this.#broker.publish(reply, new TextEncoder().encode('{"status":"succeeded"}'));
  }
}
