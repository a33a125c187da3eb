/** The command line: arguments, exit codes, and the shape of what is printed. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openTokenFile } from "../../gateway/lab/token-file.ts";
import { fetchDebianPackage } from "../../nats-config/debian-package.ts";
import { claimDataDir } from "../../nats-config/data-dir.ts";
import type { DeadLetter, HistoryEntry, NodeInfo } from "../../runtime/api.ts";
import {
  ActorNotFoundError,
  AddressError,
  BrokerUnavailableError,
  BusyError,
  DeadlineError,
  LetterNotFoundError,
  PoisonMessageError,
  UnknownEventError,
  UnknownKindError,
} from "../../runtime/errors.ts";
import type { PlacementReport } from "../../runtime/explain.ts";
import { cli, type CliWorld, viewOf } from "./cli-support.ts";

const NODE: NodeInfo = {
  name: "node1",
  incarnation: "abc",
  pid: 12,
  host: "pi",
  version: "0.1.0",
  kinds: ["counter", "task"],
  roles: ["WORKER"],
  weight: 1,
  state: "alive",
  health: null,
  labels: {},
  startedAtMs: 1_767_225_500_000,
  shards: [1, 2],
  activations: 4,
  queued: 0,
  rounds: 9,
  inputs: 12,
  memoryBytes: 50e6,
  refusal: null,
};
const REPORT: PlacementReport = {
  kind: "device",
  id: "pi1:a",
  shard: "device=pi1",
  door: 7,
  placement: { roles: ["WORKER"], label: "host", upTo: ":" },
  owner: null,
  wanted: null,
  epoch: 3,
  checkpoint: 40,
  isPinned: true,
  candidates: [
    { key: "n1.abc", name: "n1", weight: 1, score: 1.25, unfit: "has not the label host=pi1", state: "alive" },
  ],
};
const ENTRY: HistoryEntry = {
  revision: 1,
  seq: 4,
  timeMs: 1_767_225_600_000,
  sender: "c1",
  event: { type: "add", by: 2 },
};
const LETTER: DeadLetter = {
  seq: 7,
  reason: "poison",
  kind: "counter",
  id: "a",
  cause: "TypeError: No number",
  timeMs: 1_767_225_600_000,
  sender: "c1",
  event: { type: "add" },
  revision: 2,
};
const LOCK = viewOf({
  kind: "resource",
  id: "pi:device1",
  value: "held",
  context: {
    resource: "pi:device1",
    token: 7,
    capacity: 1,
    closed: [],
    holders: [{ token: 7, holder: "task/t1", permits: 1, expiresAtMs: 1_767_225_630_000 }],
    queue: [{ holder: "task/t2", priority: "high", ttlMs: 30_000, sinceMs: 1 }],
    history: [],
  },
});

/** Every reading or sending command with answers, for what holds for all of them. */
const COMMANDS: readonly (readonly [args: readonly string[], world: CliWorld, json: unknown])[] = [
  [
    ["tell", "counter", "a", "add", '{"by":2}'],
    { client: { tell: async () => {} } },
    { told: { kind: "counter", id: "a", type: "add" } },
  ],
  [["ask", "counter", "a", "add"], { client: { ask: async () => ({ count: 3 }) } }, { count: 3 }],
  [["ask", "counter", "a", "add"], { client: { ask: async () => undefined } }, null],
  [["query", "counter", "a"], { client: { query: async () => viewOf() } }, viewOf()],
  [
    ["ps"],
    {
      client: {
        nodes: async () => [NODE],
        list: async (kind) => (kind === "task" ? [] : [{ kind, id: "a", node: "node1" }]),
      },
    },
    {
      nodes: [NODE],
      kinds: [
        { kind: "counter", actors: 1, inMemory: 1 },
        { kind: "task", actors: 0, inMemory: 0 },
      ],
    },
  ],
  [["nodes"], { client: { nodes: async () => [NODE] } }, { nodes: [NODE] }],
  [["explain", "placement", "device", "pi1:a"], { client: { explainPlacement: async () => REPORT } }, REPORT],
  [
    ["ps", "counter"],
    {
      client: {
        list: async (kind) => ["a", "b", "c"].map((id) => ({ kind, id, node: null })),
        recent: async (kind) => ["c", "a"].map((id) => ({ kind, id, node: null, cursor: "s1" })),
        query: async () => viewOf(),
      },
    },
    {
      kind: "counter",
      total: 3,
      actors: ["c", "a"].map((id) => ({ kind: "counter", id, node: null, view: viewOf() })),
    },
  ],
  [
    ["occupancy", "pi:device1"],
    { client: { query: async () => ({ ...LOCK, context: { capacity: 1, queue: [], history: [] } }) } },
    {
      ...{ resource: "pi:device1", grants: 0, sinceMs: null, busy: null, waitingNow: 0, waitedMs: 0 },
      ...{ longestWaitMs: null, longestHoldMs: null, timeline: [] },
    },
  ],
  [
    ["locks"],
    { client: { list: async (kind) => [{ kind, id: "pi:device1", node: null }], query: async () => LOCK } },
    {
      total: 1,
      locks: [
        {
          resource: "pi:device1",
          state: "held",
          holder: "task/t1",
          token: 7,
          expiresAtMs: 1_767_225_630_000,
          holders: [{ holder: "task/t1", token: 7, permits: 1 }],
          capacity: 1,
          closed: [],
          queue: [{ holder: "task/t2", priority: "high" }],
        },
      ],
      strays: 0,
      unreadable: [],
    },
  ],
  [
    ["history", "counter", "a"],
    { client: { history: async () => [ENTRY] } },
    { kind: "counter", id: "a", total: 1, entries: [ENTRY] },
  ],
  [["dead"], { client: { deadLetters: async () => [] } }, []],
  [["dead", "list"], { client: { deadLetters: async () => [LETTER] } }, [LETTER]],
  [["dead", "show", "7"], { client: { deadLetter: async () => LETTER } }, LETTER],
  [["dead", "retry", "7", "--why", "fixed"], { client: { retryDeadLetter: async () => ({ n: 1 }) } }, { n: 1 }],
  [["dead", "edit", "7", "add", "--why", "w"], { client: { retryDeadLetter: async () => undefined } }, null],
  [["dead", "skip", "7", "--why", "old"], { client: { skipDeadLetter: async () => undefined } }, { skipped: 7 }],
  [
    ["resume", "counter", "a", "--why", "w"],
    { client: { resume: async () => ({ status: "active" }) } },
    { status: "active" },
  ],
];

describe("every command", () => {
  test.each(COMMANDS)("%j --json prints one JSON document and nothing else", async (args, world, json) => {
    for (const line of [
      [...args, "--json"],
      ["--json", ...args],
    ]) {
      const run = await cli(line, world);
      expect(run).toMatchObject({ exit: 0, err: "", closed: 1 });
      expect(run.out.trimEnd().split("\n")).toHaveLength(1);
      expect(JSON.parse(run.out)).toEqual(json);
    }
  });

  test.each(COMMANDS)("%j prints text for people without --json", async (args, world) => {
    const run = await cli(args, world);
    expect(run).toMatchObject({ exit: 0, err: "" });
    expect(run.out).toMatch(/\n$/);
    expect(run.out.split("\n").every((line) => line === line.trimEnd())).toBe(true);
  });

  test.each(COMMANDS)("%j ends 3 and names the way out when nothing answers", async (args) => {
    const connectError = new BrokerUnavailableError("No NATS server answers at nats://x: start one, or set NATS_URL");
    const run = await cli(args, { connectError });
    expect(run).toMatchObject({
      exit: 3,
      out: "",
      err: "troupe: No NATS server answers at nats://x: start one, or set NATS_URL\n",
    });
  });
});

describe("exit codes", () => {
  test.each([
    [new ActorNotFoundError("Nothing is known of counter/a"), 4],
    [new UnknownKindError("counter", ["task"]), 4],
    [new AddressError('The id "a b" is not valid'), 2],
    [new UnknownEventError("No transition"), 1],
    [new PoisonMessageError("It threw"), 1],
    [new BusyError("Too much waits"), 3],
    [new DeadlineError("No answer"), 3],
    [new TypeError("A fault of ours"), 1],
  ])("%s ends %i, closes the connection and shows no stack", async (error, exit) => {
    const run = await cli(["ask", "counter", "a", "add"], { client: { ask: () => Promise.reject(error) } });
    expect(run).toMatchObject({ exit, out: "", closed: 1 });
    expect(run.err).toBe(`troupe: ${error.message}\n`);
  });

  test("`ask` prints a reply that refuses, and ends 1 with its reason", async () => {
    const reply = { ok: false, code: "STALE_TOKEN", message: "Token 3 is over" };
    const run = await cli(["ask", "resource", "pi:d", "release", '{"token":3}', "--json"], {
      client: { ask: async () => reply, query: async () => viewOf({}) },
    });
    expect(run).toMatchObject({
      exit: 1,
      closed: 1,
      err: 'troupe: resource/pi:d refuses "release": Token 3 is over\n',
    });
    expect(JSON.parse(run.out)).toEqual(reply);
  });

  test.each(["ask", "tell"])("`%s` locks nothing that nobody ever heard of, and ends 4", async (command) => {
    const sent: unknown[] = [];
    const client = {
      ask: async (...call: unknown[]) => void sent.push(call),
      tell: async (...call: unknown[]) => void sent.push(call),
      query: () => Promise.reject(new ActorNotFoundError("Nothing is known of it")),
    };
    const run = await cli([command, "resource", "pi:typo", "acquire", '{"holder":"client/me"}'], { client });
    expect(run).toMatchObject({ exit: 4, out: "" });
    expect(run.err).toContain('Nobody ever heard of the resource "pi:typo": check its name');
    expect(sent).toEqual([]);
    await cli([command, "resource", "server", "configure", '{"by":"client/me"}'], { client });
    expect(sent).toHaveLength(1);
  });

  test("`history` ends 4 when there is none", async () => {
    const run = await cli(["history", "counter", "a"], { client: { history: async () => [] } });
    expect(run).toMatchObject({ exit: 4, out: "" });
    expect(run.err).toMatch(/^troupe: No history of counter\/a: /);
  });

  test("`ps` ends 4 for a kind that no node hosts, and 0 for one without actors", async () => {
    const client = { list: async () => [], recent: async () => [], nodes: async () => [NODE] };
    expect(await cli(["ps", "counte"], { client })).toMatchObject({
      exit: 4,
      err: expect.stringContaining("counter, task"),
    });
    expect(await cli(["ps", "task"], { client })).toMatchObject({
      exit: 0,
      out: 'No actor of the kind "task" exists\n',
    });
  });
});

test("`locks` says how many it leaves out", async () => {
  const list = async () => ["a", "b", "c"].map((id) => ({ kind: "resource", id, node: null }));
  const client = { list, query: async () => LOCK };
  expect((await cli(["locks", "--limit", "1"], { client })).out).toMatch(/\n… 2 more: raise --limit\n$/);
  expect((await cli(["locks", "--limit", "3"], { client })).out).not.toContain("more");
});

test("`locks` shows all that hold a counted resource, and why a closed one grants nobody", async () => {
  const held = (holder: string, token: number, permits: number) => ({ holder, token, permits, expiresAtMs: Infinity });
  const rows = {
    tuners: { capacity: 4, closed: [], holders: [held("client/a", 1, 2), held("client/b", 2, 1)], queue: [] },
    "pi:d1": { capacity: 1, closed: [{ reason: "maintenance" }], holders: [], queue: [] },
  };
  const client: CliWorld["client"] = {
    list: async (kind) => (kind === "resource" ? Object.keys(rows).map((id) => ({ kind, id, node: null })) : []),
    query: async (_, id) => ({ ...LOCK, id, context: rows[id as keyof typeof rows] }),
  };
  const { out } = await cli(["locks"], { client });
  expect(out).toMatch(/^tuners +held, 3 of 4 +client\/a ×2, client\/b +1, 2 /m);
  expect(out).toMatch(/^pi:d1 +maintenance +- +- +- +-$/m);
});

test("`locks` leaves out free locks of devices that nobody heard of, and says so", async () => {
  const ids: Readonly<Record<string, readonly string[]>> = {
    resource: ["pi:known", "pi:held", "pi:typo", "tree"],
    device: ["pi:known"],
  };
  const free = { ...LOCK, value: "free", context: { ...(LOCK.context as object), holders: [], queue: [] } };
  const client = {
    list: async (kind: string) => (ids[kind] ?? []).map((id) => ({ kind, id, node: null })),
    query: async (_: unknown, id: string) => ({ ...(id === "pi:held" ? LOCK : free), id }),
  };
  const shown = async (...args: string[]) => {
    const { out } = await cli(["locks", "--json", ...args], { client });
    const { locks, strays } = JSON.parse(out) as { locks: { resource: string }[]; strays: number };
    return [locks.map(({ resource }) => resource), strays];
  };
  expect(await shown()).toEqual([["pi:known", "pi:held", "tree"], 1]);
  expect(await shown("--all")).toEqual([["pi:known", "pi:held", "pi:typo", "tree"], 0]);
  expect((await cli(["locks"], { client })).out).toMatch(
    /\n… 1 free locks of unknown devices: show them with --all\n$/,
  );
});

describe("what cannot be read or written", () => {
  let directory = "";
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "troupe-cli-"));
    // A file where a folder is needed: as unwritable for root as for anybody.
    await writeFile(join(directory, "taken"), "");
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  test("`dev` names the option for another data directory", async () => {
    const run = await cli(["dev", "--data", "taken/x", "--port", "0"], { cwd: directory });
    expect(run.exit).toBe(1);
    expect(run.err).toMatch(/The data directory ".*taken\/x.*" cannot be used .*name another one with --data/);
  });

  test("a token file names it too", async () => {
    await expect(openTokenFile(join(directory, "taken", "x", "d.token"))).rejects.toThrow(/another one with --data/);
  });

  test("a cache that cannot be written names the variable for another one", async () => {
    const sources = join(directory, "apt");
    await mkdir(sources);
    await writeFile(join(sources, "sources.list"), "deb http://127.0.0.1:1/debian bookworm main\n");
    const fetching = fetchDebianPackage({ directory: join(directory, "taken"), aptDirectory: sources, log: () => {} });
    await expect(fetching).rejects.toThrow(/the cache ".*taken" cannot be written .*another folder in TROUPE_CACHE/);
  });

  test("a folder that cannot be asked for a running `troupe dev` leads to --url", async () => {
    const owner = join(directory, ".troupe", "nats", "owner.json");
    await mkdir(owner, { recursive: true });
    const run = await cli(["ps"], { cwd: directory });
    expect(run).toMatchObject({ exit: 2, out: "" });
    expect(run.err).toMatch(/name the server with --url or NATS_URL\n$/);
  });
});

describe("the command line", () => {
  test.each([
    [["tell"], /missing required argument 'kind'/],
    [["tell", "counter", "a", "add", "{"], /"\{" is no JSON/],
    [["tell", "counter", "a", "add", "[1]"], /is no JSON object/],
    [["tell", "counter", "a", "add", '{"type":"x"}'], /holds "type"/],
    [["ask", "counter", "a", "add", "--deadline", "10"], /"10" is no duration: give a number with its unit/],
    [["ask", "counter", "a", "add", "--priority", "urgent"], /one of critical, high, normal, low/],
    [["ps", "--limit", "0"], /"0" is no count/],
    [["ps", "a", "b"], /too many arguments/],
    [["nonsense"], /unknown command 'nonsense'/],
    [["histroy"], /Did you mean history\?/],
    [["gateway", "--port", "70000"], /"70000" is no port/],
    [["dev", "--port", "-1"], /"-1" is no port/],
    [["node", "--name", "a.b"], /"a\.b" is no node name/],
    [["node", "--labels", "x"], /is no list of labels/],
    [["lab"], /required option '--host <name>'/],
    [["lab", "--host", "sunri-pi1", "--seed", "x"], /"x" is no seed/],
    [["lab", "--host", "sunri-pi1", "--min-gap", "2m", "--max-gap", "1m"], /give a range/],
    [["apply", "--replicas", "2"], /give one of 1, 3, 5/],
    [["query", "counter", "a", "--namespace", "a.b"], /"a\.b" is not one subject token/],
    [["query", "counter", "a", "--url", ""], /--url is empty/],
    [["node", "--json"], /TROUPE_LOG_LEVEL is "loud"/],
  ])("refuses %j with exit 2, without connecting", async (args, message) => {
    const run = await cli(args, { env: { TROUPE_LOG_LEVEL: "loud" } });
    expect(run).toMatchObject({ exit: 2, out: "", connected: [] });
    expect(run.err).toMatch(/^troupe: /);
    expect(run.err).toMatch(message);
    expect(run.err).not.toContain("    at ");
  });

  test("`lab` ends 4 for an unknown host and names the known ones", async () => {
    expect(await cli(["lab", "--host", "moon"])).toMatchObject({
      exit: 4,
      err: 'troupe: No lab host "moon": known are sunri-pi1, sunri-pi2\n',
    });
  });

  test("`help` with the words of a command inside another shows that command's help", async () => {
    expect(await cli(["help", "dead", "show"])).toEqual(await cli(["dead", "show", "--help"]));
    expect((await cli(["help", "dead", "show"])).out).toContain("Usage: troupe dead show [options] <seq>");
  });

  test("--help documents the exit codes, of the program and of every command", async () => {
    const help = await cli(["--help"]);
    expect(help).toMatchObject({ exit: 0, err: "" });
    for (const command of [
      "dev",
      "node",
      "gateway",
      "lab",
      "apply",
      "tell",
      "ask",
      "query",
      "ps",
      "nodes",
      "explain placement",
      "locks",
      "history",
      "replay",
      "dead",
      "dead retry",
      "resume",
    ]) {
      const words = command.split(" ");
      expect(help.out).toMatch(new RegExp(`^  ${words[0]} `, "m"));
      const own = await cli([...words, "--help"]);
      expect(own).toMatchObject({ exit: 0, err: "" });
      expect(own.out).toMatch(/--json[\s\S]*--url <url>[\s\S]*--namespace <name>[\s\S]*Exit codes:/);
    }
    expect(await cli(["--version"])).toMatchObject({ exit: 0, out: "9.9.9\n" });
  });

  test("passes what nodes are to be on, and shows what a silent one does not tell as -", async () => {
    const asked: unknown[] = [];
    const silent: NodeInfo = {
      ...NODE,
      state: "suspect",
      startedAtMs: null,
      shards: null,
      activations: null,
      queued: null,
      rounds: null,
      inputs: null,
      memoryBytes: null,
      refusal: null,
      health: null,
    };
    const client = {
      nodes: async (filter: unknown) => {
        asked.push(filter);
        return [silent];
      },
    };
    const args = ["--role", "worker", "--labels", "host=pi1", "--kind", "task", "--release", "0.1", "--all"];
    const shown = await cli(["nodes", ...args], { client });
    const states = ["alive", "leaving", "suspect", "dead"];
    expect(asked).toEqual([{ role: "WORKER", labels: { host: "pi1" }, kind: "task", version: "0.1", states }]);
    expect(shown.out).toMatch(/^node1 +suspect +pi +0\.1\.0 +WORKER +- +1 +- +- +- +- +- +- +- +-$/m);
    expect(await cli(["nodes", "--role", "boss"], { client })).toMatchObject({ exit: 2 });
  });

  test("explains a placement in words: why there, what speaks for each node, and what should move", async () => {
    const shown = await cli(["explain", "placement", "device", "pi1:a"], {
      client: { explainPlacement: async () => REPORT },
    });
    expect(shown.out).toContain('device/pi1:a lives in shard device=pi1: the label "host" is the id up to ":"');
    expect(shown.out).toContain("callers send to shard 7, whose owner passes it on");
    expect(shown.out).toContain("owner -, epoch 3, checkpoint 40");
    expect(shown.out).toMatch(/^n1\.abc +alive +1 +1\.250 +has not the label host=pi1$/m);
  });

  test("passes who, why and the changed event on, and wants a reason", async () => {
    const asked: unknown[] = [];
    const note = async (...args: unknown[]) => void asked.push(args);
    const client = { retryDeadLetter: note, skipDeadLetter: note, resume: note };
    const env = { USER: "ann" };
    await cli(["dead", "edit", "7", "add", '{"by":2}', "--why", "was no number"], { client, env });
    await cli(["dead", "retry", "8", "--why", "fixed", "--by", "bob"], { client, env });
    await cli(["dead", "skip", "9", "--why", "old"], { client });
    await cli(["resume", "counter", "a", "--why", "fixed"], { client, env });
    expect(asked).toEqual([
      [7, { by: "ann", why: "was no number", event: { type: "add", by: 2 } }],
      [8, { by: "bob", why: "fixed" }],
      [9, { by: "cli", why: "old" }],
      ["counter", "a", { by: "ann", why: "fixed" }],
    ]);
    expect(await cli(["dead", "retry", "7"])).toMatchObject({
      exit: 2,
      err: expect.stringContaining("--why") as string,
    });
    const unknown = { deadLetter: async () => Promise.reject(new LetterNotFoundError("There is no dead letter 7")) };
    expect(await cli(["dead", "show", "7"], { client: unknown })).toMatchObject({ exit: 4 });
  });

  test("passes deadline, priority and fields on", async () => {
    const asked: unknown[] = [];
    const client = { ask: async (...call: unknown[]) => void asked.push(call) };
    await cli(["ask", "counter", "a", "add", '{"by":2}', "--deadline", "1.5s", "--priority", "high"], { client });
    expect(asked).toEqual([["counter", "a", { type: "add", by: 2 }, { deadlineMs: 1_500, priority: "high" }]]);
  });

  test("prints bytes and control characters so that neither JSON nor the terminal breaks", async () => {
    const view = viewOf({ context: { bytes: new Uint8Array([1, 2]), text: "a\u001b[2Jb" } });
    const listed = { kind: "counter", id: "x\u001b[2J", node: null };
    const client = {
      query: async () => view,
      list: async () => [listed],
      recent: async () => [{ ...listed, cursor: "s1" }],
    };
    expect(JSON.parse((await cli(["query", "counter", "a", "--json"], { client })).out)).toMatchObject({
      context: { bytes: "AQI=" },
    });
    const { out } = await cli(["ps", "counter"], { client });
    expect(out).toContain("x [2J");
    expect(out).not.toContain("\u001b");
  });
});

describe("which cluster is meant", () => {
  const client = { query: async () => viewOf() };
  const servers = async (args: readonly string[], world: CliWorld): Promise<unknown> =>
    (await cli(["query", "counter", "a", ...args], { client, ...world })).connected[0];

  test("--url stands before NATS_URL, and both before the default", async () => {
    expect(await servers(["--url", "nats://a:1,nats://b:2"], { env: { NATS_URL: "nats://c:3" } })).toMatchObject({
      servers: ["nats://a:1", "nats://b:2"],
    });
    expect(await servers([], { env: { NATS_URL: "nats://c:3" } })).toMatchObject({
      servers: ["nats://c:3"],
      namespace: "troupe",
    });
    expect(await servers([], {})).toMatchObject({ servers: ["nats://127.0.0.1:4222"] });
  });

  test("--namespace stands before TROUPE_NAMESPACE", async () => {
    const env = { TROUPE_NAMESPACE: "lab" };
    expect(await servers([], { env })).toMatchObject({ namespace: "lab" });
    expect(await servers(["--namespace", "own"], { env })).toMatchObject({ namespace: "own" });
  });

  test("--device-root stands before TROUPE_DEVICE_ROOT, and must be one word", async () => {
    const env = { TROUPE_DEVICE_ROOT: "lab2" };
    expect(await servers([], {})).toMatchObject({ deviceRoot: "device" });
    expect(await servers([], { env })).toMatchObject({ deviceRoot: "lab2" });
    expect(await servers(["--device-root", "own"], { env })).toMatchObject({ deviceRoot: "own" });
    expect((await cli(["apply", "--device-root", "a.b"])).err).toContain(
      'The device root "a.b" is not one subject token',
    );
  });

  test("without either, the server of a running `troupe dev` in this folder is meant", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "troupe-cli-"));
    const claim = await claimDataDir(join(cwd, ".troupe", "nats"));
    try {
      await claim.update({ url: "nats://127.0.0.1:4299" }, { port: 4_299 });
      expect(await servers([], { cwd })).toMatchObject({ servers: ["nats://127.0.0.1:4299"] });
    } finally {
      await claim.release();
    }
    expect(await servers([], { cwd })).toMatchObject({ servers: ["nats://127.0.0.1:4222"] });
    await rm(cwd, { recursive: true });
  });
});
