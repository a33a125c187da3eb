/**
 * What a connection does to what it carries: requests come twice, followers hear late. Invariant: nothing is repeated that its sender
 * could not repeat itself, and nothing that is followed overtakes.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { Broker, StoredMessage } from "../../runtime/port.ts";
import type { Random } from "../fault/support/random.ts";

/** A repetition comes so much later at most, in ms: after the sender has gone on, and after a takeover. */
const REPEAT_WITHIN_MS = 3_000;

/** A follower of journals hears of a round so much after the others' answers at most, in ms: longer than it takes to find a node silent. */
const LAG_MS = 2_500;

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

/** What is followed of `stream` comes late, by as much as the server and a full connection may take. */
export function lagging(broker: Broker, clock: Clock, random: Random, stream: string): Broker {
  return over(broker, {
    follow: async (from, options, onMessage) => {
      if (from !== stream) return await broker.follow(from, options, onMessage);
      const lagMs = random.next() < 0.5 ? 0 : random.int(0, LAG_MS);
      let lastAtMs = 0;
      // In the order heard: timers of a real host may pass one another.
      const underway: StoredMessage[] = [];
      return await broker.follow(from, options, (message) => {
        lastAtMs = Math.max(lastAtMs, clock.monotonic() + random.int(0, lagMs + 1));
        underway.push(message);
        clock.setTimeout(() => {
          const next = underway.shift();
          if (next !== undefined) onMessage(next);
        }, lastAtMs - clock.monotonic());
      });
    },
  });
}
