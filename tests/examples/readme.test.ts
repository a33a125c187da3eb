/** The README's own program runs as printed. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("README's first actor counts on over two runs when run as printed", { timeout: 60_000 }, async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const code = /```ts\n([\s\S]*?)```/.exec(readme)?.[1];
  expect(code).toBeDefined();
  expect((code as string).trim().split("\n").length).toBeLessThanOrEqual(24);
  // Inside the root, so that "xstate" resolves; its data goes elsewhere.
  const directory = await mkdtemp(join(root, "tests/examples/.run-"));
  const data = await mkdtemp(join(tmpdir(), "troupe-readme-"));
  const file = join(directory, "first.ts");
  try {
    await writeFile(file, (code as string).replace('"troupe"', '"../../../index.ts"'));
    const run = async () => (await promisify(execFile)(process.execPath, [file], { cwd: data })).stdout.trim();
    expect(await run()).toBe("1");
    expect(await run()).toBe("2");
  } finally {
    await rm(directory, { recursive: true });
    await rm(data, { recursive: true });
  }
});
