#!/usr/bin/env node
/**
 * The `troupe` command as a process. Invariant: what an older Node.js cannot parse or lacks is loaded only after the version
 * was checked, so that its user reads a sentence and no stack trace.
 */
import { fileURLToPath } from "node:url";
import { nodeProblem } from "./node-version.ts";

const problem = nodeProblem(process.versions.node);
if (problem === null) {
  const { main } = await import("./main.ts");
  await main(fileURLToPath(import.meta.url));
} else {
  process.stderr.write(`troupe: ${problem}\n`);
  process.exitCode = 1; // as EXIT.failed, whose file an older version may not be able to load
}
