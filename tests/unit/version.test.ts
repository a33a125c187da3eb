/** The versions that the code tells are those of the manifest: the published one, and the oldest Node.js. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { MINIMUM_NODE, nodeProblem } from "../../gateway/node-version.ts";
import { VERSION } from "../../runtime/version.ts";

const manifest = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
  engines: { node: string };
};

test("VERSION is package.json's version when a release is made", () => {
  expect(VERSION).toBe(manifest.version);
});

test.each([
  ["20.20.2", true],
  ["22.17.9", true],
  ["22.18.0", false],
  ["22.20.0", false],
  ["24.0.0", false],
  ["26.1.0-nightly", false],
])("nodeProblem() of %s is one: %s", (version, isOne) => {
  expect(nodeProblem(version) !== null).toBe(isOne);
  expect(manifest.engines.node).toBe(`>=${MINIMUM_NODE.replace(/\.0$/, "")}`);
});

test("the command says a sentence under an old Node.js, before it loads what that could not", async () => {
  const old = "Object.defineProperty(process.versions, 'node', { value: '20.20.2' }); delete Promise.withResolvers";
  const cli = fileURLToPath(new URL("../../gateway/cli.ts", import.meta.url));
  const args = ["--import", `data:text/javascript,${encodeURIComponent(old)}`, cli, "--version"];
  const ended = await promisify(execFile)(process.execPath, args).catch((error: unknown) => error);
  expect(ended).toMatchObject({ code: 1, stdout: "" });
  expect((ended as { stderr: string }).stderr).toMatch(/^troupe: Node\.js 20\.20\.2 is too old, .+\n$/);
});
