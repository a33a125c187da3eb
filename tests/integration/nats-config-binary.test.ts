import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findServerBinary } from "../../nats-config/binary.ts";
import { PackageFetchError, ServerNotFoundError, ServerTooOldError } from "../../nats-config/errors.ts";
import { CONFIG_FILES } from "../../nats-config/server-config.ts";

const run = promisify(execFile);
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "troupe-test-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** A program that prints `text`, at `path` below the test's folder. */
async function program(path: string, text: string): Promise<string> {
  const file = join(home, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `#!/bin/sh\necho '${text}'\n`);
  await chmod(file, 0o755);
  return file;
}

/** An apt configuration without any source. */
const noApt = () => join(home, "no-apt");

describe("findServerBinary()", () => {
  test("takes the named binary before PATH, PATH before the cache, and the newest of the cache", async () => {
    const [named, onPath] = [
      await program("named/any-name", "nats-server: v2.16.0"),
      await program("bin/nats-server", "nats-server: v2.14.0"),
    ];
    await program("cache/nats-server/2.14.9-1/nats-server", "nats-server: v2.14.9");
    const newest = await program("cache/nats-server/2.15.10-1/nats-server", "nats-server: v2.15.10");
    await program("cache/nats-server/2.15.9-1/nats-server", "nats-server: v2.15.9");
    const env = { TROUPE_CACHE: join(home, "cache") };
    const path = `:${join(home, "missing")}:${dirname(onPath)}`;
    expect(await findServerBinary({ env: { ...env, PATH: path, TROUPE_NATS_SERVER: named } })).toEqual({
      path: named,
      version: "2.16.0",
      source: "environment",
    });
    expect(await findServerBinary({ env: { ...env, PATH: path } })).toEqual({
      path: onPath,
      version: "2.14.0",
      source: "path",
    });
    expect(await findServerBinary({ env })).toEqual({ path: newest, version: "2.15.10", source: "cache" });
  });

  test("passes over an old binary on PATH, and says so, when the cache has a newer one", async () => {
    const old = await program("old/nats-server", "nats-server: v2.10.29");
    const cached = await program("cache2/nats-server/2.15.1-1/nats-server", "nats-server: v2.15.1");
    const lines: string[] = [];
    const found = await findServerBinary({
      env: { PATH: dirname(old), TROUPE_CACHE: join(home, "cache2") },
      log: (line) => lines.push(line),
    });
    expect(found.path).toBe(cached);
    expect(lines).toEqual([`Passing over ${old}: version 2.10.29 is older than 2.14.0`]);
  });

  test("throws ServerTooOldError when the named binary, or the only one, is too old", async () => {
    const old = await program("old/nats-server", "nats-server: v2.9.0");
    await expect(findServerBinary({ env: { TROUPE_NATS_SERVER: old } })).rejects.toThrow(ServerTooOldError);
    const only = findServerBinary({
      env: { PATH: dirname(old), TROUPE_CACHE: join(home, "none") },
      aptDirectory: noApt(),
    });
    await expect(only).rejects.toThrow(`"${old}" has version 2.9.0, but 2.14.0 or newer is needed`);
  });

  test("throws ServerNotFoundError when the named file is missing or another program", async () => {
    const other = await program("other", "hello");
    await expect(findServerBinary({ env: { TROUPE_NATS_SERVER: join(home, "nowhere") } })).rejects.toThrow(
      /nowhere.*ENOENT/,
    );
    await expect(findServerBinary({ env: { TROUPE_NATS_SERVER: other } })).rejects.toThrow(ServerNotFoundError);
  });

  test("throws ServerNotFoundError when there is none and apt knows no Debian archive", async () => {
    const nothing = findServerBinary({ env: { PATH: "", TROUPE_CACHE: join(home, "none") }, aptDirectory: noApt() });
    await expect(nothing).rejects.toThrow(ServerNotFoundError);
  });

  test("throws PackageFetchError and leaves nothing in the cache when apt cannot reach the archive", async () => {
    const apt = join(home, "apt");
    await mkdir(apt);
    await writeFile(join(apt, "sources.list"), "deb http://127.0.0.1:9/debian bookworm main\n");
    const cache = join(home, "cache3");
    const fetched = findServerBinary({ env: { PATH: "", TROUPE_CACHE: cache }, aptDirectory: apt });
    await expect(fetched).rejects.toThrow(PackageFetchError);
    const { stdout } = await run("find", [cache, "-type", "f"]);
    expect(stdout).toBe("");
  });
});

describe("the committed configuration files", () => {
  test.each(Object.keys(CONFIG_FILES))("nats-server accepts %s", async (name) => {
    const file = fileURLToPath(new URL(`../../nats-config/${name}`, import.meta.url));
    const env = { ...process.env, NATS_STORE_DIR: join(home, "store"), NATS_SERVER_NAME: "nats-1" };
    const { stderr, stdout } = await run((await findServerBinary()).path, ["-t", "-c", file], { env });
    expect(stdout + stderr).toContain("is valid");
  });
});
