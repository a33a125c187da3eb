/** What another project gets: the packed files with types, ESM and the command, resolved as from node_modules. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VERSION } from "../../runtime/version.ts";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const CONSUMER = `
import { assign, setup } from "xstate";
import { type ActorKind, defineActor, reply, AddressError } from "troupe";
const machine = setup({ types: { context: {} as { n: number }, events: {} as { type: "add"; by: number } } }).createMachine({
  context: { n: 0 },
  on: { add: { actions: [assign({ n: ({ context, event }) => context.n + event.by }), reply(({ context }) => context.n)] } },
});
export const kind: ActorKind<typeof machine> = defineActor({ kind: "counter", machine });
console.log(kind.kind, kind.accepts("add"), kind.accepts("sub"), new AddressError("x").code);
`;

let directory = "";

beforeAll(async () => {
  // Below the root, so that the package's own dependencies resolve without an install.
  directory = await mkdtemp(join(root, "tests/integration/.pack-"));
  await run("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: root });
  await mkdir(join(directory, "node_modules/troupe"), { recursive: true });
  await run("tar", ["-xzf", `troupe-${VERSION}.tgz`, "--strip-components=1", "-C", "node_modules/troupe"], {
    cwd: directory,
  });
  await writeFile(join(directory, "package.json"), '{ "type": "module" }');
  await writeFile(join(directory, "consumer.ts"), CONSUMER);
}, 120_000);

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

test("the package type-checks and runs when another project imports it", { timeout: 60_000 }, async () => {
  const tsc = join(root, "node_modules/.bin/tsc");
  const compilerOptions = {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    module: "nodenext",
    target: "es2024",
    types: ["node"],
  };
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  await run(tsc, [], { cwd: directory });
  const { stdout } = await run(process.execPath, ["consumer.ts"], { cwd: directory });
  expect(stdout.trim()).toBe("counter true false BAD_ADDRESS");
});

test("the command troupe tells its version and its catalogue is there when installed", async () => {
  const cli = join(directory, "node_modules/troupe/dist/gateway/cli.js");
  const { stdout } = await run(process.execPath, [cli, "--version"], { cwd: directory });
  expect(stdout.trim()).toBe(VERSION);
  const { stdout: files } = await run("tar", ["-tzf", `troupe-${VERSION}.tgz`], { cwd: directory });
  expect(files.split("\n")).toContain("package/dist/agents/catalogue/lab-watcher.yaml");
});
