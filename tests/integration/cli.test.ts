/** The `troupe` command as real processes on a real server. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AddressInfo, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { startTestServer, type TestServer } from "../support/nats.ts";

const CLI = fileURLToPath(new URL("../../gateway/cli.ts", import.meta.url));
const CHANGED_MACHINE = fileURLToPath(new URL("./cli-changed-machine.ts", import.meta.url));
const DEADLINE_MS = 20_000;

let server: TestServer;
let directory: string;
let env: NodeJS.ProcessEnv;
let node: Served;

interface Served {
  readonly child: ChildProcess;
  readonly ready: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
  readonly exited: Promise<number | null>;
}

interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

function troupe(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env, cwd: directory }, (error, out, err) =>
      resolve({ exit: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, out, err }),
    );
  });
}

/** Runs a command with --json that must succeed. */
async function json(...args: string[]): Promise<unknown> {
  const { exit, out, err } = await troupe(...args, "--json");
  expect({ args, exit, err }).toEqual({ args, exit: 0, err: "" });
  return JSON.parse(out);
}

/** Starts a command that runs on, and resolves when it says that it is ready. */
async function serve(...args: string[]): Promise<Served> {
  const child = spawn(process.execPath, [CLI, ...args, "--json"], {
    env,
    cwd: directory,
    stdio: ["pipe", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let err = "";
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  const ready = Promise.withResolvers<Served["ready"]>();
  createInterface({ input: child.stdout }).on("line", (line) => {
    lines.push(line);
    const message = JSON.parse(line) as { event: string };
    if (message.event === "ready") ready.resolve(message);
  });
  void exited.then((code) => ready.reject(new Error(`${args.join(" ")} ended with ${code}: ${err}`)));
  return { child, lines, exited, ready: await ready.promise };
}

beforeAll(async () => {
  server = await startTestServer();
  directory = await mkdtemp(join(tmpdir(), "troupe-cli-"));
  env = { ...process.env, NATS_URL: server.url, TROUPE_LOG_LEVEL: "warn" };
  node = await serve("node", "--name", "node1", "--labels", "role=lab");
});

afterAll(async () => {
  node?.child.kill("SIGTERM");
  await node?.exited;
  await server?.stop();
  await rm(directory, { recursive: true, force: true });
});

test("`apply` reports every stream, and nothing to change the second time", async () => {
  const report = (await json("apply")) as { stream: string; action: string }[];
  expect(report.length).toBeGreaterThan(8);
  expect(new Set(report.map(({ action }) => action))).toEqual(new Set(["unchanged"]));
});

test("`node` says once that it is ready, and `ps` shows it with its kinds", async () => {
  expect(node.ready).toMatchObject({ event: "ready", part: "node1", pid: node.child.pid, shards: 64 });
  expect(await json("ps")).toMatchObject({
    nodes: [{ name: "node1", pid: node.child.pid, labels: { role: "lab" } }],
    kinds: expect.arrayContaining([expect.objectContaining({ kind: "task" })]),
  });
});

describe("one lock from the command line", () => {
  const acquire = ["ask", "resource", "pi:d1", "acquire", '{"priority":"high","ttlMs":60000,"holder":"client/me"}'];

  test("`ask`, `locks`, `query`, `tell` and `history` agree", async () => {
    const heard = { id: "e", source: "s", type: "t", timeMs: 1, priority: "low", data: {}, device: null };
    await json("tell", "device", "pi:d1", "observed", JSON.stringify({ event: heard }));
    expect(await json(...acquire)).toMatchObject({ ok: true, state: "granted", token: 1 });
    expect(await json("locks")).toMatchObject({
      locks: [{ resource: "pi:d1", holder: "client/me", token: 1, queue: [] }],
    });
    expect(await json("tell", "resource", "pi:d1", "release", '{"token":1,"holder":"client/me"}')).toEqual({
      told: { kind: "resource", id: "pi:d1", type: "release" },
    });
    expect(await json("query", "resource", "pi:d1")).toMatchObject({
      context: { holders: [], token: 1 },
    });
    await vi.waitFor(async () => {
      expect(await json("history", "resource", "pi:d1")).toMatchObject({
        total: 4,
        entries: ["acquire", "xstate.done.actor.lease", "release", "xstate.done.actor.lease"].map((type) => ({
          event: { type },
        })),
      });
    }, DEADLINE_MS);
  });

  test("`replay` gives the stored state bit for bit, and shows where a changed machine parts", async () => {
    expect(await json("replay", "resource", "pi:d1")).toMatchObject({ same: true, comparedWith: "stored", inputs: 4 });
    const changed = await troupe("replay", "resource", "pi:d1", "--machine", CHANGED_MACHINE, "--json");
    expect(changed).toMatchObject({
      exit: 1,
      err: expect.stringMatching(/^troupe: resource\/pi:d1 parts at input 1 \(acquire\) with the machine of /),
    });
    expect(JSON.parse(changed.out)).toMatchObject({
      same: false,
      comparedWith: "machine",
      partsAt: {
        revision: 1,
        event: { type: "acquire" },
        before: { value: expect.anything() },
        after: { value: "closed" },
      },
    });
  });
});

test.each([
  [["query", "resource", "nobody"], 4],
  [["replay", "resource", "nobody"], 4],
  [["tell", "nonsense", "a", "x"], 4],
  [["tell", "resource", "a b", "acquire"], 2],
  [["tell", "device", "a", "nonsense"], 1],
  [["tell", "resource", "a", "acquire"], 4],
  [["query", "resource", "a", "--url", "nats://127.0.0.1:9"], 3],
  [["query", "resource", "a", "--namespace", "elsewhere"], 3],
  [["replay", "resource", "a", "--machine", "/nowhere.ts"], 2],
] as const)("%j ends with exit code %i and one line of reason", async (args, exit) => {
  const run = await troupe(...args);
  expect(run).toMatchObject({ exit, out: "" });
  expect(run.err).toMatch(/^troupe: \S.*\n$/);
});

test("`gateway` on a taken port says so, and with --port 0 it serves and ends when its parent's pipe closes", async () => {
  const gateway = await serve("gateway", "--port", "0", "--end-with-stdin");
  const url = String(gateway.ready["url"]);
  expect((await fetch(`${url}/health/live`)).status).toBe(200);
  const taken = await troupe("gateway", "--port", new URL(url).port);
  expect(taken).toMatchObject({ exit: 1, out: "", err: expect.stringMatching(/^troupe: The port \d+ .* is taken: /m) });
  gateway.child.stdin?.end();
  expect(await gateway.exited).toBe(0);
  expect(gateway.lines.map((line) => (JSON.parse(line) as { event: string }).event)).toEqual(["ready", "stopped"]);
});

test("`lab` brings devices on line, and killed it takes them off", async () => {
  const lab = await serve("lab", "--host", "sunri-pi1", "--seed", "1");
  expect(lab.ready).toMatchObject({ host: "sunri-pi1", seed: 1, devices: [{ id: "device1" }, { id: "device2" }] });
  const states = async (): Promise<unknown[]> =>
    ((await json("ps", "device")) as { actors: { id: string; view: { value: unknown } }[] }).actors
      .filter(({ id }) => id.startsWith("sunri-pi1:"))
      .map(({ view }) => view.value);
  await vi.waitFor(async () => expect(await states()).toEqual(["online", "online"]), DEADLINE_MS);
  lab.child.kill("SIGKILL");
  await lab.exited;
  await vi.waitFor(async () => expect(await states()).not.toContain("online"), {
    timeout: DEADLINE_MS,
    interval: 500,
  });
});

test("`node` drains on SIGTERM and ends 0; what it stored is there for the next one", async () => {
  node.child.kill("SIGTERM");
  expect(await node.exited).toBe(0);
  expect(await troupe("query", "resource", "pi:d1", "--deadline", "500ms")).toMatchObject({ exit: 3 });
  node = await serve("node", "--name", "node1");
  expect(await json("query", "resource", "pi:d1")).toMatchObject({ context: { token: 1 } });
});

test("a command ends 3, by itself, at a server that accepts connections and says nothing", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const url = `nats://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  try {
    const { exit, err } = await troupe("nodes", "--url", url);
    expect([exit, err]).toEqual([3, `troupe: No NATS server answers at ${url}: start one, or set NATS_URL\n`]);
  } finally {
    silent.close();
  }
});
