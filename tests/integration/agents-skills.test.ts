/** Skills against a device's driver and against services on a real server: refused, silent, absent, degraded, malformed. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { SkillCall } from "../../actors/messages/task.ts";
import { COMMAND_RESEND_MS } from "../../agents/device-door.ts";
import { defineSkill, SkillRegistry } from "../../agents/skill.ts";
import { RESULT_MAX_BYTES } from "../../agents/skill-result.ts";
import { builtInSkills } from "../../agents/skills/built-in.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { AbortedError } from "../../runtime/errors.ts";
import type { Broker, InboundMessage } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const names = makeNames({ namespace: "skills" });
/** Of the steps here, in ms: room for three sendings to a driver. */
const TIMEOUT_MS = 25_000;
/** Simulated time passes in steps of this, in ms. */
const STEP_MS = 100;
/** Far beyond a restart of nats-server, however fast simulated time passes. */
const HOUR_MS = 3_600_000;
/** Kept of a step's time to say why there was no answer, in ms. */
const REPORTED_MS = 250;
const DEVICE = { host: "sunri-pi1", device: "device2" };
const HEALTHY = {
  timestamp: "2026-09-16T07:14:45.120",
  filename: "capture_0412.jpg",
  blackscreen: false,
  blackscreen_percentage: 2.1,
  freeze: false,
  freeze_diffs: [4.2],
  macroblocks: false,
  audio: null,
};

interface Command {
  readonly command: string;
  readonly params: unknown;
  readonly token: number | null;
  readonly task: string;
  readonly step: string;
  readonly invocationId: string;
}

/** A driver as the contract has it: fenced, idempotent. */
class FakeDriver {
  highest = 0;
  frame: unknown = HEALTHY;
  /** What is answered instead, if set; null: nothing. */
  answer: string | null | undefined;
  readonly done: Command[] = [];
  readonly #answers = new Map<string, unknown>();

  handle(text: string): string | null {
    if (this.answer !== undefined) return this.answer;
    const command = JSON.parse(text) as Command;
    const known = this.#answers.get(command.invocationId);
    const answer = known ?? this.#perform(command);
    this.#answers.set(command.invocationId, answer);
    return JSON.stringify(answer);
  }

  #perform(command: Command): unknown {
    if (command.token === null) return { ok: false, code: "NO_TOKEN", error: "A command needs the lock's token" };
    if (command.token < this.highest)
      return { ok: false, code: "STALE_TOKEN", error: `The token ${command.token} is older than ${this.highest}` };
    this.highest = command.token;
    this.done.push(command);
    if (command.command === "analyse_frame") return { ok: true, output: this.frame };
    if (command.command === "capture_screenshot")
      return { ok: true, output: { file: "shot.jpg" }, evidence: [{ kind: "screenshot", at: 5, ref: "shot.jpg" }] };
    return { ok: true, output: { done: command.command } };
  }
}

let server: TestServer;
let broker: Broker;
let peer: Broker;
let driver: FakeDriver;
const clock = new SimClock();
let skills: SkillRegistry;

const answering = (handle: (text: string) => string | null) => (message: InboundMessage) => {
  const answer = handle(new TextDecoder().decode(message.data));
  if (answer !== null && message.reply !== undefined) peer.publish(message.reply, new TextEncoder().encode(answer));
};

beforeAll(async () => {
  server = await startTestServer();
  [broker, peer] = await Promise.all([connectBroker({ servers: server.url }), connectBroker({ servers: server.url })]);
  skills = new SkillRegistry(builtInSkills, { broker, names, clock });
  peer.subscribe(
    names.deviceCommand(DEVICE.host, DEVICE.device),
    answering((text) => driver.handle(text)),
  );
  await peer.flush();
});
afterAll(async () => {
  await Promise.all([broker.close(), peer.close()]);
  await server.stop();
});
beforeEach(() => {
  driver = new FakeDriver();
});

const call = (
  skill: string,
  args: Readonly<Record<string, unknown>> = {},
  changes: Partial<SkillCall> = {},
): SkillCall => ({
  skill,
  args,
  device: DEVICE,
  token: 7,
  fence: null,
  task: "t1",
  step: "s1",
  attempt: 1,
  invocationId: "inv-1",
  deadlineAtMs: clock.now() + TIMEOUT_MS,
  ...changes,
});
const run = (what: SkillCall, invocationId = "inv-1", signal = new AbortController().signal) =>
  skills.runSkill({ ...what, invocationId }, signal);

/** The outcome of `work` in simulated time, which goes on whenever the real answers have been given their turn. */
async function advanceUntil<T>(work: Promise<T>, time = clock): Promise<T> {
  let isOver = false;
  const ended = work.finally(() => {
    isOver = true;
  });
  await expect
    .poll(async () => (await time.advanceAsync(STEP_MS), isOver), { timeout: 10_000, interval: 1 })
    .toBe(true);
  return ended;
}

describe("runSkill()", () => {
  test("runSkill() sends the driver the command with token, task, step and invocation", async () => {
    expect(await run(call("press_key", { key: "HOME" }))).toEqual({
      status: "succeeded",
      output: { done: "press_key" },
      evidence: [],
    });
    expect(
      await run(call("device_command", { command: "power_cycle", params: { off_ms: 100 } }), "inv-2"),
    ).toMatchObject({ status: "succeeded" });
    expect(driver.done).toEqual([
      { command: "press_key", params: { key: "HOME" }, token: 7, task: "t1", step: "s1", invocationId: "inv-1" },
      { command: "power_cycle", params: { off_ms: 100 }, token: 7, task: "t1", step: "s1", invocationId: "inv-2" },
    ]);
  });

  test("runSkill() does a command once when its invocation is started again", async () => {
    const first = await run(call("press_key", { key: "HOME" }));
    expect(await run(call("press_key", { key: "HOME" }))).toEqual(first);
    expect(driver.done).toHaveLength(1);
  });

  test("runSkill() fails when the device has seen a newer token", async () => {
    driver.highest = 8;
    expect(await run(call("press_key", { key: "HOME" }))).toEqual({
      status: "failed",
      evidence: [],
      message: 'The driver of "sunri-pi1:device2" refused "press_key" (STALE_TOKEN): The token 7 is older than 8',
    });
    expect(driver.done).toEqual([]);
  });

  test("runSkill() sends nothing when the task holds no lock", async () => {
    for (const changes of [{ token: null }, { device: null }]) {
      expect(await run(call("press_key", { key: "HOME" }, changes))).toEqual({
        status: "failed",
        message: 'Skill "press_key" needs a locked device, and the task holds none',
      });
    }
    expect(driver.done).toEqual([]);
  });

  test("runSkill() says unknown when no driver listens until the try's time is nearly up", async () => {
    const running = run(call("press_key", { key: "HOME" }, { device: { host: "sunri-pi9", device: "device1" } }));
    expect(await advanceUntil(running)).toEqual({
      status: "unknown",
      message: 'The driver of "sunri-pi9:device1" is not there: start it, or check that its host is online',
    });
  });

  test("runSkill() finds a driver that comes late", async () => {
    const late = { host: "sunri-pi1", device: "late" };
    const running = run(call("press_key", { key: "HOME" }, { device: late }));
    await clock.advanceAsync(TIMEOUT_MS / 2);
    const coming = peer.subscribe(
      names.deviceCommand(late.host, late.device),
      answering((text) => driver.handle(text)),
    );
    await peer.flush();
    expect(await advanceUntil(running)).toMatchObject({ status: "succeeded" });
    expect(driver.done).toHaveLength(1);
    coming.unsubscribe();
  });

  test("runSkill() throws AbortedError when the signal fires while the driver is silent", async () => {
    driver.answer = null;
    const control = new AbortController();
    const running = run(call("press_key", { key: "HOME" }), "inv-1", control.signal);
    control.abort();
    await expect(running).rejects.toThrow(AbortedError);
    await expect(run(call("wait", { ms: 1 }), "inv-1", control.signal)).rejects.toThrow(AbortedError);
  });

  test("runSkill() throws AbortedError when the signal fires during a wait, and waits otherwise", async () => {
    const control = new AbortController();
    const aborted = run(call("wait", { ms: 60_000 }), "inv-1", control.signal);
    control.abort();
    await expect(aborted).rejects.toThrow(AbortedError);
    const waiting = run(call("wait", { ms: 60_000 }, { device: null, token: null }));
    await clock.advanceAsync(60_000);
    expect(await waiting).toEqual({ status: "succeeded", output: { waitedMs: 60_000 } });
  });

  test("runSkill() says unknown when a driver never answers, after sending again under one key", async () => {
    const sim = new SimClock();
    const timed = await connectBroker({ servers: server.url, clock: sim });
    const seen: string[] = [];
    const silent = peer.subscribe(
      names.deviceCommand("h1", "silent"),
      answering((text) => (seen.push((JSON.parse(text) as Command).invocationId), null)),
    );
    await peer.flush();
    try {
      const patient = new SkillRegistry(builtInSkills, { broker: timed, names, clock: sim });
      const device = { host: "h1", device: "silent" };
      const running = patient.runSkill(call("press_key", { key: "HOME" }, { device }), new AbortController().signal);
      for (let sent = 1; sent * COMMAND_RESEND_MS < TIMEOUT_MS; sent++) {
        await expect.poll(() => seen.length, { timeout: 5_000 }).toBe(sent);
        await sim.advanceAsync(COMMAND_RESEND_MS + 1_000);
      }
      expect(await advanceUntil(running, sim)).toMatchObject({
        status: "unknown",
        message: expect.stringContaining("whether it was done is unknown") as string,
      });
      expect(sim.now()).toBeLessThan(call("").deadlineAtMs);
      expect(new Set(seen)).toEqual(new Set(["inv-1"]));
    } finally {
      silent.unsubscribe();
      await timed.close();
    }
  });

  test("runSkill() succeeds with analyse_frame only on a healthy frame, kept as evidence", async () => {
    expect(await run(call("analyse_frame"))).toEqual({
      status: "succeeded",
      message: "The picture is there; sound was not measured",
      output: { verdict: "healthy", reason: "The picture is there; sound was not measured", ...HEALTHY },
      evidence: [
        { kind: "frame_analysis", at: clock.now(), ref: "capture_0412.jpg", data: { verdict: "healthy", ...HEALTHY } },
      ],
    });
    driver.frame = { ...HEALTHY, blackscreen: true, blackscreen_percentage: 98.7 };
    expect(await run(call("analyse_frame"), "inv-2")).toMatchObject({
      status: "failed",
      message: "The screen is black to 98.7 %",
      evidence: [{ data: { verdict: "blackscreen" } }],
    });
    driver.frame = { analyzed: true, subtitle_ocr_pending: true, error: "failed_to_save_full_data" };
    expect(await run(call("analyse_frame"), "inv-3")).toMatchObject({
      status: "unknown",
      output: { verdict: "unknown" },
    });
    driver.frame = undefined;
    expect(await run(call("analyse_frame"), "inv-4")).toMatchObject({ status: "unknown" });
  });

  test("runSkill() takes a screenshot only with evidence of it", async () => {
    expect(await run(call("capture_screenshot"))).toEqual({
      status: "succeeded",
      output: { file: "shot.jpg" },
      evidence: [{ kind: "screenshot", at: 5, ref: "shot.jpg" }],
    });
    driver.answer = '{"ok":true}';
    expect(await run(call("capture_screenshot"))).toMatchObject({
      status: "failed",
      message: "The driver said it took a screenshot and gave no evidence of it",
    });
  });

  const malformed = [
    "",
    "no json",
    "[]",
    "null",
    "{}",
    '{"ok":"yes"}',
    '{"ok":true,"evidence":{}}',
    '{"ok":true,"evidence":[{"kind":"x"}]}',
    '{"ok":true,"evidence":[{"kind":"x","at":"now"}]}',
    "\u0000",
  ];
  test.each(malformed)("runSkill() fails when the driver answers %j", async (answer) => {
    driver.answer = answer;
    expect(await run(call("press_key", { key: "HOME" }))).toMatchObject({
      status: "failed",
      message: expect.stringMatching(/^The driver of "sunri-pi1:device2" answered/) as string,
    });
  });

  const badArguments: readonly [string, Readonly<Record<string, unknown>>][] = [
    ["press_key", {}],
    ["press_key", { key: "HOME; rm" }],
    ["press_key", { key: null }],
    ["device_command", { command: "" }],
    ["device_command", { command: 3 }],
    ["device_command", { command: "x", params: [] }],
    ["wait", { ms: -1 }],
    ["wait", { ms: "5" }],
    ["wait", { ms: Number.NaN }],
  ];
  test.each(badArguments)("runSkill() fails without a command when %s is called with %j", async (skill, args) => {
    expect(await run(call(skill, args))).toMatchObject({ status: "failed", message: expect.any(String) as string });
    expect(driver.done).toEqual([]);
  });

  test("runSkill() fails clearly when the skill is not known, throws, or returns too much", async () => {
    expect(await run(call("pres_key"))).toEqual({
      status: "failed",
      message: 'This node has no skill "pres_key": Did you mean "press_key"?',
    });
    const own = (id: string, output: () => unknown) =>
      defineSkill({
        id,
        description: "",
        needsDevice: false,
        run: async () => ({ status: "succeeded", output: output() }),
      });
    const registry = new SkillRegistry(
      [
        own("throws", () => {
          throw new TypeError("no such host");
        }),
        own("large", () => "x".repeat(RESULT_MAX_BYTES)),
        own("cyclic", cyclic),
      ],
      { broker, names },
    );
    const of = (skill: string) => registry.runSkill(call(skill), new AbortController().signal);
    expect(await of("throws")).toEqual({ status: "unknown", message: 'Skill "throws" threw TypeError: no such host' });
    expect(await of("large")).toMatchObject({
      status: "failed",
      message: expect.stringContaining("store it elsewhere and answer a reference") as string,
    });
    expect(await of("cyclic")).toMatchObject({
      status: "unknown",
      message: expect.stringContaining('Skill "cyclic" threw TypeError') as string,
    });
  });

  test("defineSkill() and SkillRegistry refuse bad ids and twins", () => {
    expect(() =>
      defineSkill({ id: "a.b", description: "", needsDevice: false, run: async () => ({ status: "failed" }) }),
    ).toThrow('The skill id "a.b" is not valid');
    expect(() => new SkillRegistry([...builtInSkills, ...builtInSkills.slice(0, 1)], { broker, names })).toThrow(
      'There are two skills "device_command": rename one',
    );
  });
});

const cyclic = (): unknown => {
  const loop: Record<string, unknown> = {};
  loop["self"] = loop;
  return loop;
};

describe("NATS skills", () => {
  const serve = async (handle: (text: string) => string | null) => {
    const service = peer.subscribe(names.skill("zap-checker"), answering(handle));
    await peer.flush();
    return service;
  };

  test("runSkill() calls a service with the whole call and takes its result", async () => {
    const seen: unknown[] = [];
    const service = await serve(
      (text) => (
        seen.push(JSON.parse(text)),
        JSON.stringify({
          status: "succeeded",
          output: { zaps: 3 },
          evidence: [{ kind: "zap", at: 1 }],
          more: "ignored",
        })
      ),
    );
    expect(await run(call("nats:zap-checker", { channel: 5 }))).toEqual({
      status: "succeeded",
      output: { zaps: 3 },
      evidence: [{ kind: "zap", at: 1 }],
    });
    expect(seen).toEqual([
      {
        args: { channel: 5 },
        device: DEVICE,
        token: 7,
        fence: null,
        task: "t1",
        step: "s1",
        invocationId: "inv-1",
        deadlineMs: TIMEOUT_MS - REPORTED_MS,
      },
    ]);
    service.unsubscribe();
  });

  test("runSkill() says clearly when no service answers on the subject", async () => {
    expect(await advanceUntil(run(call("nats:nobody")))).toEqual({
      status: "unknown",
      message: 'The skill service "nobody" is not there: start one that answers requests on "skills.skill.nobody"',
    });
  });

  test.each(["", "x", "{}", '{"status":"ok"}', '{"status":true}', '{"status":"succeeded","evidence":"yes"}', "[]"])(
    "runSkill() fails when the service answers %j",
    async (answer) => {
      const service = await serve(() => answer);
      expect(await run(call("nats:zap-checker"))).toMatchObject({
        status: "failed",
        message: expect.stringMatching(/^The skill service "zap-checker" answered/) as string,
      });
      service.unsubscribe();
    },
  );

  test("runSkill() asks a service again under its key, with the time that is left, when nats-server was killed meanwhile", async () => {
    const own = await startTestServer();
    const [node, other] = await Promise.all([
      connectBroker({ servers: own.url, clock }),
      connectBroker({ servers: own.url }),
    ]);
    const seen: { readonly invocationId: string; readonly deadlineMs: number }[] = [];
    other.subscribe(names.skill("slow"), ({ data, reply }) => {
      seen.push(JSON.parse(new TextDecoder().decode(data)) as (typeof seen)[number]);
      if (seen.length > 1) other.publish(reply ?? "", new TextEncoder().encode('{"status":"succeeded"}'));
    });
    await other.flush();
    const registry = new SkillRegistry(builtInSkills, { broker: node, names, clock });
    const running = registry.runSkill(
      call("nats:slow", {}, { deadlineAtMs: clock.now() + HOUR_MS }),
      new AbortController().signal,
    );
    await expect.poll(() => seen.length).toBe(1);
    process.kill(own.embedded.pid, "SIGKILL");
    expect(await advanceUntil(running)).toMatchObject({ status: "succeeded" });
    expect(seen.map(({ invocationId }) => invocationId)).toEqual(["inv-1", "inv-1"]);
    expect(seen[1]?.deadlineMs).toBeLessThan(seen[0]?.deadlineMs ?? 0);
    await Promise.all([node.close(), other.close()]);
    await own.stop();
  });

  test("runSkill() throws AbortedError when the signal fires while the service works", async () => {
    const control = new AbortController();
    const service = await serve(() => (control.abort(), null));
    await expect(run(call("nats:zap-checker"), "inv-1", control.signal)).rejects.toThrow(AbortedError);
    service.unsubscribe();
  });
});
