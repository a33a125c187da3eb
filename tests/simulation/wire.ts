/** A connection whose requests sometimes come twice, the second time late. Invariant: nothing is repeated that its sender could not repeat itself. */
import type { Clock } from "../../runtime/clock.ts";
import type { Broker } from "../../runtime/port.ts";
import type { Random } from "../fault/support/random.ts";

/** A repetition comes so much later at most, in ms: after the sender has gone on, and after a takeover. */
const REPEAT_WITHIN_MS = 3_000;

/** The broker with some of its methods replaced. */
export function over(broker: Broker, methods: Partial<Broker>): Broker {
  return new Proxy(broker, {
    get(target, key) {
      const own = (methods as Record<string | symbol, unknown>)[key];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value as (...args: unknown[]) => unknown).bind(target) : value;
    },
  });
}

export function repeating(broker: Broker, clock: Clock, random: Random, part: number): Broker {
  // Nobody listens there: the answer to a repetition is for the auditor alone.
  const nowhere = `_INBOX.nowhere-${clock.randomId(4)}`;
  let repeated = 0;
  return over(broker, {
    request: (subject, data, timeoutMs) => {
      if (random.next() < part) {
        const copy = data.slice();
        clock.setTimeout(
          () => broker.publish(subject, copy, { reply: `${nowhere}.${++repeated}` }),
          random.int(0, REPEAT_WITHIN_MS),
        );
      }
      return broker.request(subject, data, timeoutMs);
    },
  });
}
