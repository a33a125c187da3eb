/** Tests that need rights which not every machine gives, such as a mount: `npm run test:privileged`. They are no part of `npm test`. */
import { defineConfig } from "vitest/config";

/** As long as other fault tests may take, in ms. */
const TIMEOUT_MS = 120_000;

export default defineConfig({
  test: {
    include: ["tests/privileged/**/*.test.ts"],
    environment: "node",
    maxWorkers: 1,
    fileParallelism: false,
    testTimeout: TIMEOUT_MS,
    hookTimeout: TIMEOUT_MS,
  },
});
