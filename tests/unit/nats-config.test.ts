import { describe, expect, test } from "vitest";
import { debianArchiveIn, renderSource } from "../../nats-config/apt-sources.ts";
import { cacheDirectory, compareVersions, natsUrl, parseServerVersion } from "../../nats-config/binary.ts";
import {
  ConfigValueError,
  PackageFetchError,
  ServerNotFoundError,
  ServerTooOldError,
} from "../../nats-config/errors.ts";
import { CONFIG_FILES, renderServerConfig, type ServerSettings } from "../../nats-config/server-config.ts";

const MIRROR = "http://mirror.example/debian";

describe("debianArchiveIn()", () => {
  test("finds the archive and its key in a deb822 file, past third parties, security and disabled stanzas", () => {
    const text = `# comment
Types: deb
URIs: https://vendor.example/apt
Suites: stable
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb deb-src
# snapshot
URIs: ${MIRROR}
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`;
    expect(debianArchiveIn("debian.sources", text)).toEqual({
      uri: MIRROR,
      signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
    });
  });

  test("keeps a key block of several lines, which renderSource() writes back", () => {
    const key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----";
    const source = debianArchiveIn(
      "a.sources",
      `Types: deb\nURIs: ${MIRROR}/\nSuites: trixie\nComponents: main\nSigned-By:${key}\n`,
    );
    expect(source).toEqual({ uri: `${MIRROR}/`, signedBy: key });
    expect(renderSource(source ?? { uri: "", signedBy: "" }, "forky")).toBe(
      `Types: deb\nURIs: ${MIRROR}/\nSuites: forky\nComponents: main\nSigned-By: ${key}\n`,
    );
  });

  test.each([
    ["plain", `deb ${MIRROR} bookworm main`, undefined],
    ["with options", `deb [arch=amd64 signed-by=/k.gpg] ${MIRROR} bookworm main contrib # note`, "/k.gpg"],
    [
      "after others",
      `#deb http://off.example/debian x main\ndeb-src http://src.example/debian x main\n deb ${MIRROR} x main`,
      undefined,
    ],
  ])("reads a one-line file, %s", (_, text, signedBy) => {
    expect(debianArchiveIn("sources.list", text)).toEqual({ uri: MIRROR, signedBy });
  });

  test.each([
    ["a third party", "deb https://vendor.example/node_20.x nodistro main"],
    ["another component", `deb ${MIRROR} bookworm contrib`],
    ["security only", "deb http://mirror.example/debian-security bookworm-security main"],
    ["an unsigned source", `deb [trusted=yes] ${MIRROR} bookworm main`],
    ["a local medium", "deb cdrom:[Debian]/debian bookworm main"],
    ["nothing", ""],
  ])("returns undefined when the file has %s", (_, text) => {
    expect(debianArchiveIn("x.list", text)).toBeUndefined();
  });

  test("returns undefined when the only deb822 stanza is marked trusted", () => {
    expect(
      debianArchiveIn("x.sources", `Types: deb\nURIs: ${MIRROR}\nSuites: x\nComponents: main\nTrusted: yes\n`),
    ).toBeUndefined();
  });
});

describe("the binary", () => {
  test.each([
    ["nats-server: v2.15.1\n", "2.15.1"],
    ["nats-server: v2.14.0-RC.1", "2.14.0"],
    ["nats-server version 2.14", undefined],
    ["v18.1.2", undefined],
    ["", undefined],
  ])("parseServerVersion() reads %j", (output, version) => {
    expect(parseServerVersion(output)).toBe(version);
  });

  test.each([
    ["2.14.0", "2.14.0", 0],
    ["2.9.25", "2.14.0", -1],
    ["2.100.0", "2.14.9", 1],
    ["3.0.0", "2.99.99", 1],
  ])("compareVersions() orders %s and %s by number", (a, b, sign) => {
    expect(Math.sign(compareVersions(a, b))).toBe(sign);
  });

  test.each([
    [{ TROUPE_CACHE: "/a", XDG_CACHE_HOME: "/b", HOME: "/c" }, "/a"],
    [{ XDG_CACHE_HOME: "/b", HOME: "/c" }, "/b/troupe"],
    [{ HOME: "/c" }, "/c/.cache/troupe"],
  ])("cacheDirectory() takes the first that is set of %j", (env, path) => {
    expect(cacheDirectory(env)).toBe(path);
  });

  test.each([
    [undefined, undefined],
    ["", undefined],
    [" , ", undefined],
    ["nats://a:4222", ["nats://a:4222"]],
    ["nats://a:1, nats://b:2", ["nats://a:1", "nats://b:2"]],
  ])("natsUrl() reads %j", (value, urls) => {
    expect(natsUrl({ NATS_URL: value })).toEqual(urls);
  });

  test.each([
    new ServerNotFoundError("None"),
    new ServerTooOldError("/x", "2.9.0"),
    new PackageFetchError("no network"),
  ])("$name names three ways out", (error) => {
    for (const way of ["1. ", "TROUPE_NATS_SERVER", "PATH", "2. ", "apt", "3. ", "NATS_URL"])
      expect(error.message).toContain(way);
  });
});

describe("renderServerConfig()", () => {
  const base: ServerSettings = { serverName: "one", listen: "127.0.0.1:4222", storeDir: "/data", sync: "always" };

  test("writes every part that is asked for and no other", () => {
    const text = renderServerConfig({
      ...base,
      mqtt: "127.0.0.1:1883",
      websocket: "127.0.0.1:9222",
      monitor: "127.0.0.1:8222",
      system: { user: "system", password: { env: "SYSTEM_PASSWORD" } },
    });
    expect(text).toContain("sync_interval: always");
    expect(text).toContain("max_payload: 1048576");
    expect(text).toContain('mqtt {\n  listen: "127.0.0.1:1883"\n}');
    expect(text).toContain("no_tls: true");
    expect(text).toContain('http: "127.0.0.1:8222"');
    expect(text).toContain('users: [ { user: "system", password: $SYSTEM_PASSWORD } ]');
    expect(renderServerConfig(base)).not.toMatch(/mqtt|websocket|http|cluster|"system"/);
  });

  test("quotes what would end a string", () => {
    expect(renderServerConfig({ ...base, storeDir: 'C:\\a "b"$HOME' })).toContain('store_dir: "C:\\\\a \\"b\\"$HOME"');
  });

  test.each([
    ["a line break in a path", { storeDir: "/data\nlisten: 0.0.0.0:1" }],
    ["an empty name", { serverName: "" }],
    ["an address without port", { listen: "127.0.0.1" }],
    ["an address with more behind it", { mqtt: "127.0.0.1:1 }" }],
    ["a variable that is none", { storeDir: { env: "A }" } }],
  ])("throws ConfigValueError when given %s", (_, change) => {
    expect(() => renderServerConfig({ ...base, ...change })).toThrow(ConfigValueError);
  });

  // After a change in server-config.ts: npx vitest run tests/unit/nats-config.test.ts -u
  test.each(Object.keys(CONFIG_FILES))("CONFIG_FILES holds %s as it is committed", async (name) => {
    await expect(CONFIG_FILES[name]).toMatchFileSnapshot(`../../nats-config/${name}`);
  });
});
