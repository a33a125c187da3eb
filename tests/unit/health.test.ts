/** How a node is. Invariant: what was not measured is null, and a figure is of the span that ended at its time. */
import { expect, test } from "vitest";
import { HEALTH_EVERY_MS, type HealthCounts, HealthMeter } from "../../runtime/health.ts";
import { SIM_EPOCH_MS, SimClock } from "../../runtime/testkit/sim-clock.ts";

function startMeter() {
  const clock = new SimClock();
  const counts = { inputs: 0, poisons: 0 };
  const meter = new HealthMeter(clock, (): HealthCounts => ({ ...counts }));
  meter.start();
  return { clock, counts, meter };
}

test("is null before the first span has ended, and has no error rate without inputs", () => {
  const { clock, meter } = startMeter();
  clock.advance(HEALTH_EVERY_MS - 1);
  expect(meter.latest).toBe(null);
  clock.advance(1);
  expect(meter.latest).toMatchObject({ measuredAtMs: SIM_EPOCH_MS + HEALTH_EVERY_MS, loopDelayMs: 0, errorRate: null });
  expect(meter.latest?.cpu).toBeGreaterThanOrEqual(0);
});

test("counts the errors of the last span only, and nothing backwards when a new incarnation counts from 0", () => {
  const { clock, counts, meter } = startMeter();
  Object.assign(counts, { inputs: 8, poisons: 2 });
  clock.advance(HEALTH_EVERY_MS);
  expect(meter.latest?.errorRate).toBe(0.25);
  counts.inputs = 10;
  clock.advance(HEALTH_EVERY_MS);
  expect(meter.latest?.errorRate).toBe(0);
  Object.assign(counts, { inputs: 1, poisons: 0 });
  clock.advance(HEALTH_EVERY_MS);
  expect(meter.latest?.errorRate).toBe(null);
});

test("tells the longest stall of the event loop in the span", () => {
  const { clock, meter } = startMeter();
  // A timer that blocks: time passes, and nothing else runs.
  const monotonic = clock.monotonic.bind(clock);
  let stalledMs = 0;
  clock.monotonic = () => monotonic() + stalledMs;
  clock.setTimeout(() => (stalledMs = 70), 450);
  clock.advance(HEALTH_EVERY_MS);
  expect(meter.latest?.loopDelayMs).toBe(70);
  clock.advance(HEALTH_EVERY_MS);
  expect(meter.latest?.loopDelayMs).toBe(0);
  meter.stop();
  expect(clock.pending).toBe(0);
});
