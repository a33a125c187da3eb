/** What is fixed for a cluster's life. Invariant: a node that starts waits for a server that does not know of the streams yet, not for ever. */
import { expect, test } from "vitest";
import { DEFAULT_SHARDS, makeNames } from "../../nats-config/subjects.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { ensureClusterFacts } from "../../runtime/cluster-facts.ts";
import { BrokerUnavailableError } from "../../runtime/errors.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

/** A new cluster whose server finds no stream until `knowsAtMs`. */
function startLate(knowsAtMs: number) {
  const clock = new SimClock();
  const names = makeNames({ namespace: "late" });
  const broker = createMemoryWorld({ clock, specs: streamSpecs(names) }).connect("n1");
  const getLast = broker.getLast.bind(broker);
  broker.getLast = async (stream, subject) => {
    if (clock.monotonic() < knowsAtMs)
      throw new BrokerUnavailableError("JetStream cannot answer now (stream not found)");
    return await getLast(stream, subject);
  };
  return { clock, ensuring: ensureClusterFacts(broker, names, clock) };
}

test("ensureClusterFacts() waits until the server knows the stream", async () => {
  const { clock, ensuring } = startLate(2_000);
  void clock.advanceAsync(5_000);
  expect(await ensuring).toEqual({ shards: DEFAULT_SHARDS });
});

test("ensureClusterFacts() throws BrokerUnavailableError when it stays so", async () => {
  const { clock, ensuring } = startLate(Number.POSITIVE_INFINITY);
  void clock.advanceAsync(30_000);
  await expect(ensuring).rejects.toThrow(BrokerUnavailableError);
});
