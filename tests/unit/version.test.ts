/** The version that the code tells is the version that is published. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { VERSION } from "../../runtime/version.ts";

test("VERSION is package.json's version when a release is made", async () => {
  const manifest = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  expect(VERSION).toBe(manifest.version);
});
