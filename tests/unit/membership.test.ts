/** A node's lease in its own eyes. Invariant: it is good only until its fence after the last renewal that was answered, to the ms. */
import { expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import { LEASE_MISSED_RENEWALS, LEASE_RENEW_MS, LEASE_SELF_FENCE_MS, LEASE_TTL_S } from "../../runtime/limits.ts";
import { Membership } from "../../runtime/membership.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames({ namespace: "members" });

test("the lease lapses at its fence after the last renewal, once, before others can see its end", async () => {
  const clock = new SimClock({ seed: 3 });
  const broker = createMemoryWorld({ clock, specs: streamSpecs(names) }).connect("n1");
  let isCut = false;
  let sentAtMs = 0;
  const append = broker.append.bind(broker);
  broker.append = async (...args) => {
    if (isCut) throw new BrokerUnavailableError("Cut off");
    sentAtMs = clock.monotonic();
    return await append(...args);
  };
  const lapses: number[] = [];
  const membership = new Membership({
    broker,
    clock,
    names,
    facts: {
      name: "n1",
      incarnation: "1",
      connection: "c",
      pid: 1,
      host: "h",
      kinds: [],
      labels: {},
      roles: ["WORKER"],
      weight: 1,
      version: "0",
    },
    onChange: () => undefined,
    onSilent: () => undefined,
    onLapse: () => lapses.push(clock.monotonic() - sentAtMs),
    onLost: (error) => {
      throw error;
    },
  });
  await membership.join();
  await clock.advanceAsync(20 * LEASE_RENEW_MS);
  expect([membership.isGood, lapses]).toEqual([true, []]);
  isCut = true;
  await clock.advanceAsync(2 * LEASE_TTL_S * 1_000);
  expect(lapses).toEqual([LEASE_SELF_FENCE_MS]);
  expect(LEASE_SELF_FENCE_MS).toBeLessThan(LEASE_MISSED_RENEWALS * LEASE_RENEW_MS);
  membership.stop();
});
