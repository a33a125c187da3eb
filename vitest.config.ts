/**
 * The test runner. Invariant: tests that start servers or kill processes never share the machine with others, so a
 * deadline that is missed means a fault of ours and not a busy neighbour.
 */
import { defineConfig } from "vitest/config";

/** Workers of the fast suites. Two cores is the smallest machine that the project is developed on. */
const FAST_WORKERS = 2;
/** A fast test that takes longer hangs, in ms. Property tests and the lint fixtures need the most of it. */
const FAST_TIMEOUT_MS = 20_000;
/** A real server starts, is spoken to and stops well within this, in ms. */
const INTEGRATION_TIMEOUT_MS = 30_000;
/** Fail-over is promised in 2 s; a fault test kills many times over, in ms. */
const FAULT_TIMEOUT_MS = 120_000;

/** One suite: `order` puts it after those with a lower number, as suites of different widths cannot overlap. */
function suite(name: string, order: number, include: string[], workers: number, timeoutMs: number) {
  return {
    test: {
      name,
      include,
      pool: "forks" as const,
      environment: "node",
      maxWorkers: workers,
      fileParallelism: workers > 1,
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
      sequence: { groupOrder: order },
    },
  };
}

export default defineConfig({
  test: {
    reporters: ["default"],
    passWithNoTests: false,
    allowOnly: false,
    projects: [
      suite(
        "fast",
        0,
        ["tests/*.test.ts", "tests/{unit,contract,golden,simulation}/**/*.test.ts"],
        FAST_WORKERS,
        FAST_TIMEOUT_MS,
      ),
      suite("integration", 1, ["tests/{integration,examples,browser}/**/*.test.ts"], 1, INTEGRATION_TIMEOUT_MS),
      suite("fault", 2, ["tests/fault/**/*.test.ts"], 1, FAULT_TIMEOUT_MS),
    ],
  },
});
