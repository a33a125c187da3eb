/** The clock of a simulated process. Invariant: what fell due while it was frozen stands before what falls due as it goes on. */
import { expect, test } from "vitest";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { seeded } from "../fault/support/random.ts";
import { ProcessClock } from "../simulation/process-clock.ts";

test("thaw() runs what is overdue first, in its order, also before what is due at that very moment", async () => {
  const world = new SimClock({ seed: 1 });
  const clock = new ProcessClock(world, seeded(1));
  const ran: string[] = [];
  world.setTimeout(() => clock.thaw(), 10);
  for (const delayMs of [10, 8, 7, 11]) clock.setTimeout(() => ran.push(`due at ${delayMs}`), delayMs);
  clock.freeze();
  await world.advanceAsync(20);
  expect(ran).toEqual(["due at 7", "due at 8", "due at 10", "due at 11"]);
});
