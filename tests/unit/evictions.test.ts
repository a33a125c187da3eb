/** Evictions and leases on the in-memory server. Invariant: who may answer queries was not evicted. */
import { expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { RevisionConflictError } from "../../runtime/errors.ts";
import { LEASE_MISSED_RENEWALS, LEASE_RENEW_MS, LEASE_SELF_FENCE_MS } from "../../runtime/limits.ts";
import { memberKey, Membership } from "../../runtime/membership.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames({ namespace: "evictions" });

/** Two members, `a` and `b`. */
async function start() {
  const clock = new SimClock({ seed: 9 });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const join = async (name: string) => {
    const broker = world.connect(name);
    const facts = {
      name,
      incarnation: "1",
      connection: broker.name,
      pid: 1,
      host: "h",
      kinds: [],
      labels: {},
      roles: [],
      weight: 1,
      version: "0",
    };
    const silent = new Set<string>();
    const lost: unknown[] = [];
    const membership: Membership = new Membership({
      broker,
      clock,
      names,
      facts,
      onChange: () => undefined,
      onLapse: () => undefined,
      onSilent: (key) => silent.add(key),
      onLost: (error) => lost.push(error),
    });
    await membership.join();
    return { broker, membership, silent, lost, key: memberKey(facts) };
  };
  const [a, b] = [await join("a"), await join("b")];
  await clock.advanceAsync(LEASE_RENEW_MS);
  return { clock, a, b };
}

test("evict() refuses to end a lease that was renewed after the revision, and ends one that was not", async () => {
  const { clock, a, b } = await start();
  const seen = a.membership.revisionOf(b.key);
  await clock.advanceAsync(LEASE_RENEW_MS);
  await expect(a.membership.evict(b.key, seen)).rejects.toThrow(RevisionConflictError);
  expect(b.membership.isGood).toBe(true);
  await a.membership.evict(b.key, a.membership.revisionOf(b.key));
  await clock.advanceAsync(LEASE_RENEW_MS);
  expect(b.lost).toHaveLength(1);
  expect([...a.membership.members.keys()]).toEqual([a.key]);
});

test("mayAnswer is false from the loss of the connection on, until a renewal after it", async () => {
  const { clock, b } = await start();
  b.broker.partition();
  expect(b.membership.mayAnswer).toBe(false);
  b.broker.heal();
  expect(b.membership.mayAnswer).toBe(false);
  await clock.advanceAsync(3 * LEASE_RENEW_MS);
  expect(b.membership.mayAnswer).toBe(true);
  expect(b.lost).toEqual([]);
});

test("a member that is cut off without notice stops acting before another finds it silent", async () => {
  const { clock, a, b } = await start();
  b.broker.partition({ noticed: false });
  await clock.advanceAsync(LEASE_SELF_FENCE_MS);
  expect(b.membership.isGood).toBe(false);
  expect([...a.silent]).toEqual([]);
  await clock.advanceAsync((LEASE_MISSED_RENEWALS + 1) * LEASE_RENEW_MS - LEASE_SELF_FENCE_MS);
  expect([...a.silent]).toEqual([b.key]);
  expect([...b.silent]).toEqual([]);
});
