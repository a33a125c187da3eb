/** Two drivers that claim one host a moment apart. Invariant: one of them gets it, whichever asks first. */
import { expect, test } from "vitest";
import { makeNames } from "../../nats-config/subjects.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { claimHost, HostTakenError } from "../../gateway/lab/claim.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames({ namespace: "claims" });
/** Shorter and longer than what the first waits for an answer. */
const PAUSES_MS = [0, 1, 100, 499, 500, 501, 2_000];
/** Both have decided. */
const DECIDED_MS = 5_000;

const orders = PAUSES_MS.flatMap((pauseMs) => [[pauseMs, "a", "b"] as const, [pauseMs, "b", "a"] as const]);
test.each(orders)(
  "claimHost() gives a host to one of two that ask %i ms apart, %s before %s",
  async (pauseMs, ...ids) => {
    const clock = new SimClock();
    const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
    const claims = ids.map(async (id, turn) => {
      if (turn > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, pauseMs));
      await claimHost({ broker: world.connect(id), names, clock: { randomId: () => id } }, "h");
    });
    const settled = Promise.allSettled(claims);
    await clock.advanceAsync(DECIDED_MS);
    const ends = await settled;
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    for (const end of ends) if (end.status === "rejected") expect(end.reason).toBeInstanceOf(HostTakenError);
  },
);
