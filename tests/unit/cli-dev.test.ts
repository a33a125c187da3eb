/** What `troupe dev` shows, and how it keeps its parts alive. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { LockRow } from "../../gateway/commands/locks.ts";
import { LOG_MAX_BYTES, LogFile } from "../../gateway/dev/log-file.ts";
import { describe as describeEvent, describeDead } from "../../gateway/dev/observer.ts";
import { Part, type PartSpec } from "../../gateway/dev/part.ts";
import { clusterParts } from "../../gateway/dev/parts.ts";
import { HAPPENINGS_LIMIT, Reporter } from "../../gateway/dev/reporter.ts";
import { hints, jsonView, lineView, liveView, screenLines } from "../../gateway/dev/views.ts";
import { systemClock } from "../../runtime/clock.ts";
import { encode } from "../../runtime/codec.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-dev-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const LOCK: LockRow = {
  ...{ resource: "pi:d1", state: "held", holder: "task/t", token: 4, expiresAtMs: 9, queue: [] },
  ...{ holders: [{ holder: "task/t", token: 4, permits: 1 }], capacity: 1, closed: [] },
};
const ADDRESSES = {
  nats: "nats://127.0.0.1:4222",
  mqtt: "mqtt://127.0.0.1:1884",
  gateway: "http://127.0.0.1:8080",
  dataDir: "/data",
  deviceRoot: "device",
};

function collect() {
  let text = "";
  return {
    io: { out: (more: string) => void (text += more), err: () => {} },
    take: () => {
      const taken = text;
      text = "";
      return taken;
    },
  };
}

describe("views", () => {
  test("screenLines() fits any terminal and names parts, locks and what to try with the real ports", () => {
    const parts = new Map([["node1", { name: "node1", state: "up", pid: 7, note: "up (pid 7)" }]]);
    const happenings = Array.from({ length: 90 }, (_, i) => ({
      timeMs: i,
      topic: "event",
      text: `alert ${i} ${"x".repeat(300)}`,
    }));
    const facts = { parts, happenings, locks: [LOCK], addresses: ADDRESSES };
    for (const terminal of [
      { columns: 80, rows: 24 },
      { columns: 200, rows: 60 },
      { columns: 30, rows: 5 },
    ]) {
      const lines = screenLines(facts, terminal);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(terminal.columns);
      expect(lines.join("\n")).toContain("pi:d1");
      expect(lines.join("\n")).toContain("alert 89");
    }
    expect(screenLines(facts, { columns: 200, rows: 60 })).toHaveLength(59);
    expect(hints(ADDRESSES).join("\n")).toMatch(
      /curl -s http:\/\/127\.0\.0\.1:8080\/api\/tasks[\s\S]*mosquitto_pub -p 1884 -q 1 -t device\/sunri-pi1\/device2\/event\/alert\/blackscreen/,
    );
  });

  test("liveView() paints on the second screen and gives the first one back", () => {
    const { io, take } = collect();
    const clock = new SimClock();
    const reporter = new Reporter(
      clock,
      liveView(io, clock, () => ({ columns: 80, rows: 24 })),
    );
    reporter.say("dev", "hello");
    expect(take()).toBe("\u001b[?1049h\u001b[?25l");
    clock.advance(1_000);
    expect(take()).toContain("hello");
    reporter.say("dev", "again");
    reporter.close();
    clock.advance(1_000);
    expect(take()).toBe("\u001b[?25h\u001b[?1049l");
  });

  test("lineView() and jsonView() print a line each, the addresses once, and JSON lines only", () => {
    for (const [make, isJson] of [
      [lineView, false],
      [jsonView, true],
    ] as const) {
      const { io, take } = collect();
      const reporter = new Reporter(new SimClock(), make(io));
      reporter.part({ name: "node1", state: "up", pid: 3, note: "up (pid 3)" });
      reporter.addresses(ADDRESSES);
      reporter.addresses(ADDRESSES);
      reporter.say("event", "alert\nwith \u001b[2J control");
      const lines = take().trimEnd().split("\n");
      expect(lines.filter((line) => line.includes("4222") || line.includes("api/tasks"))).toHaveLength(1);
      if (isJson)
        expect(lines.map((line) => (JSON.parse(line) as { topic: string }).topic)).toEqual(["node1", "ready", "event"]);
      else expect(lines.join("")).not.toContain("\u001b");
    }
  });

  test("Reporter keeps a bounded number of happenings", () => {
    let kept = 0;
    const reporter = new Reporter(new SimClock(), {
      line: () => {},
      paint: ({ happenings }) => void (kept = happenings.length),
      close: () => {},
    });
    for (let i = 0; i < 3 * HAPPENINGS_LIMIT; i++) reporter.say("x", String(i));
    expect(kept).toBe(HAPPENINGS_LIMIT);
  });

  test("describe() tells an event in a line, and nothing of what is no event", () => {
    const data = (value: unknown) => ({
      subject: "s",
      data: Buffer.from(typeof value === "string" ? value : JSON.stringify(value)),
    });
    const event = {
      id: "1",
      source: "device/pi/d1",
      type: "alert.freeze",
      device: { host: "pi", device: "d1" },
      data: { status: "active", metadata: {} },
    };
    expect(describeEvent(data(event))?.text).toBe("alert.freeze  pi:d1  status active");
    for (const other of ["{", "null", "[]", { type: 3 }]) expect(describeEvent(data(other))).toBeNull();
  });

  test("describeDead() tells what a dead letter is, where it stood and why", () => {
    const fields = {
      kind: "ingress",
      id: "7",
      cause: "BAD_PAYLOAD: The event is not JSON",
      sender: "device.pi.d1.event.x",
    };
    const outside = encode({ reason: "malformed", ...fields, event: "{nonsense" });
    expect(describeDead({ data: outside })).toEqual({
      text: "malformed  device.pi.d1.event.x  BAD_PAYLOAD: The event is not JSON",
      data: { reason: "malformed", ...fields },
    });
    const poison = {
      reason: "poison",
      kind: "task",
      id: "t1",
      cause: "It threw",
      sender: "agent/a",
      event: { type: "go" },
    };
    expect(describeDead({ data: encode(poison) })?.text).toBe("poison  task/t1 from agent/a  It threw");
    for (const other of [Buffer.from([0xc1]), encode(null), encode([1])])
      expect(describeDead({ data: other })).toBeNull();
  });
});

describe("LogFile", () => {
  test("write() begins a new file at the limit and keeps one old one", async () => {
    const path = join(directory, "logs", "a.log");
    const log = new LogFile(path);
    log.write("x".repeat(LOG_MAX_BYTES + 1));
    log.write("new\n");
    expect(await readFile(path, "utf8")).toBe("new\n");
    new LogFile(path).write("more\n");
    expect(await readFile(path, "utf8")).toBe("new\nmore\n");
  });
});

describe("clusterParts()", () => {
  test("gives two nodes, a gateway that comes back at its port, and a lab that does not begin anew", () => {
    const { nodes, gateway, labs } = clusterParts({
      namespace: "troupe",
      deviceRoot: "device",
      port: 0,
      labDir: "/lab",
      seed: 4,
      lab: true,
    });
    expect(nodes.map(({ name }) => name)).toEqual(["node1", "node2"]);
    expect(gateway.args(undefined)).toEqual(expect.arrayContaining(["--port", "0"]));
    for (const part of [...nodes, gateway, ...labs])
      expect(part.args(undefined).slice(-4)).toEqual(["--namespace", "troupe", "--device-root", "device"]);
    expect(gateway.args({ url: "http://127.0.0.1:8123" })).toEqual(expect.arrayContaining(["--port", "8123"]));
    expect(labs.map(({ name }) => name)).toEqual(["lab sunri-pi1", "lab sunri-pi2"]);
    expect(labs[0]?.args(undefined)).not.toContain("--first-incident");
    expect(labs[0]?.args({})).toContain("--first-incident");
    expect(
      clusterParts({ namespace: "troupe", deviceRoot: "device", port: 0, labDir: "/lab", seed: undefined, lab: false })
        .labs,
    ).toEqual([]);
  });
});

/** A program in the place of the command line; `mode` says what it does. */
const PROGRAM = `
const [mode] = process.argv.slice(2);
const ready = () => console.log(JSON.stringify({ event: "ready", part: "x", mode }));
if (mode === "refuse") { console.error("troupe: Port 1 is taken: give another"); process.exit(1); }
if (mode === "unreachable") { console.error("troupe: No server"); process.exit(3); }
if (mode === "stubborn") process.on("SIGTERM", () => {});
process.stdin.resume().on("end", () => process.exit(0));
console.log("some noise");
ready();
`;

describe("Part", () => {
  async function makePart(args: PartSpec["args"]) {
    const cliPath = join(directory, "program.mjs");
    await writeFile(cliPath, PROGRAM);
    const notes: string[] = [];
    const part = new Part(
      { name: "x y", args },
      {
        clock: systemClock,
        cliPath,
        env: process.env,
        cwd: directory,
        logDir: join(directory, "logs"),
        onChange: ({ state }, note) => void notes.push(`${state}: ${note}`),
      },
    );
    return { part, notes };
  }
  const isAlive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  test("start() resolves when the child is ready; stop() ends it and logs what it said", async () => {
    const { part, notes } = await makePart(() => ["good"]);
    await part.start();
    const pid = part.pid ?? 0;
    expect(part).toMatchObject({ state: "up", ready: { mode: "good" } });
    expect(isAlive(pid)).toBe(true);
    await part.stop();
    await part.stop();
    expect(isAlive(pid)).toBe(false);
    expect(notes.map((note) => note.split(":")[0])).toEqual(["starting", "up", "stopped"]);
    expect(await readFile(join(directory, "logs", "x-y.log"), "utf8")).toBe("some noise\n");
  });

  test("a child that is killed is started again with what it said before, and that is told", async () => {
    const given: unknown[] = [];
    const { part, notes } = await makePart((before) => {
      given.push(before);
      return ["good"];
    });
    await part.start();
    const first = part.pid ?? 0;
    process.kill(first, "SIGKILL");
    await vi.waitFor(() => expect(part.state === "up" && part.pid !== first).toBe(true), 10_000);
    expect(notes.some((note) => /^down: was killed by SIGKILL; starting again in \d+ ms$/.test(note))).toBe(true);
    expect(given).toEqual([undefined, expect.objectContaining({ mode: "good" })]);
    await part.stop();
  });

  test("start() rejects with the child's own words when it refuses to start", async () => {
    const { part } = await makePart(() => ["refuse"]);
    await expect(part.start()).rejects.toThrow("x y did not start: Port 1 is taken: give another");
    await part.stop();
  });

  test("a child that finds nothing yet is tried again until it does", async () => {
    let tries = 0;
    const { part } = await makePart(() => [++tries < 3 ? "unreachable" : "good"]);
    await part.start();
    expect(tries).toBe(3);
    await part.stop();
  });

  test("stop() rejects a start that was under way", async () => {
    const { part } = await makePart(() => ["unreachable"]);
    const started = part.start();
    await Promise.all([expect(started).rejects.toThrow("was stopped before it was ready"), part.stop()]);
  });

  test("kill() ends a child that does not listen", async () => {
    const { part } = await makePart(() => ["stubborn"]);
    await part.start();
    part.kill();
    await part.stop();
    expect(part.pid).toBeUndefined();
  });
});
