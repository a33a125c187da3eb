/** The device's door: fencing tokens, idempotence, order, and what it remembers over a restart. */
import fc from "fast-check";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type CommandAnswer, runCommand } from "../../gateway/lab/commands.ts";
import { SimulatedDevice } from "../../gateway/lab/device.ts";
import { ANSWERS_LIMIT, type DeviceCommand, DeviceDoor, LEASE_WAIT_MS, QUEUE_LIMIT } from "../../gateway/lab/door.ts";
import { labHost } from "../../gateway/lab/hosts.ts";
import { openTokenFile, type TokenFile } from "../../gateway/lab/token-file.ts";
import type { Lease } from "../../actors/lease.ts";
import { type Clock, systemClock } from "../../runtime/clock.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-door-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const tokenPath = (): string => join(directory, "lab", "sunri-pi1.device1.token");
const command = (token: unknown, invocationId: string, more: object = {}): object => ({
  command: "press_key",
  params: { key: "HOME" },
  token,
  invocationId,
  ...more,
});

/** Shows every token that is tried as a good one: what the door itself keeps is what decides. */
const anyLease = async (): Promise<Lease> => ({
  resource: "sunri-pi1:device1",
  version: 1,
  token: 100,
  grants: Array.from({ length: 100 }, (_, i) => ({ token: i + 1, holder: "task/t", expiresAtMs: Infinity })),
});

/** A door whose device counts what reached it. */
async function openDoor(
  run?: (command: DeviceCommand, signal: AbortSignal) => Promise<CommandAnswer>,
  tokens?: TokenFile,
  readLease: () => Promise<Lease | null> = anyLease,
  clock: Clock = systemClock,
) {
  const ran: DeviceCommand[] = [];
  const door = new DeviceDoor({
    device: "sunri-pi1:device1",
    tokens: tokens ?? (await openTokenFile(tokenPath())),
    clock,
    readLease,
    run: async (one, signal) => {
      ran.push(one);
      return run === undefined ? { ok: true, output: ran.length, evidence: [] } : await run(one, signal);
    },
  });
  return { door, ran };
}

describe("DeviceDoor.handle()", () => {
  test("refuses a token lower than the highest seen, and one that is missing", async () => {
    const { door, ran } = await openDoor();
    expect(await door.handle(command(5, "a"))).toMatchObject({ ok: true });
    expect(await door.handle(command(4, "b"))).toMatchObject({
      ok: false,
      code: "STALE_TOKEN",
      error: expect.stringContaining("4"),
    });
    expect(await door.handle(command(5, "c"))).toMatchObject({ ok: true });
    expect(await door.handle(command(undefined, "d"))).toMatchObject({ ok: false, code: "NO_TOKEN" });
    expect(await door.handle(command(null, "e"))).toMatchObject({ ok: false, code: "NO_TOKEN" });
    expect(ran.map(({ invocationId }) => invocationId)).toEqual(["a", "c"]);
  });

  test("answers a repeat of an invocation with its first answer, also while it runs and after a newer holder came", async () => {
    const { door, ran } = await openDoor();
    const [first, second] = await Promise.all([door.handle(command(1, "a")), door.handle(command(1, "a"))]);
    expect(second).toEqual(first);
    await door.handle(command(2, "b"));
    expect(await door.handle(command(1, "a"))).toEqual(first);
    expect(ran).toHaveLength(2);
  });

  test("refuses the old holder's command that waited while a newer holder came in", async () => {
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const { door, ran } = await openDoor(async ({ invocationId }) => {
      if (invocationId === "slow") {
        started.resolve();
        await finish.promise;
      }
      return { ok: true, output: invocationId, evidence: [] };
    });
    const slow = door.handle(command(1, "slow"));
    await started.promise;
    const waiting = door.handle(command(1, "waiting"));
    const newer = door.handle(command(2, "newer"));
    finish.resolve();
    expect(await slow).toMatchObject({ ok: true });
    expect(await waiting).toMatchObject({ ok: false, code: "STALE_TOKEN" });
    expect(await newer).toMatchObject({ ok: true });
    expect(ran.map(({ invocationId }) => invocationId)).toEqual(["slow", "newer"]);
  });

  const lend = (token: number, expiresAtMs: number, more: Partial<Lease> = {}): Lease => ({
    ...{ resource: "sunri-pi1:device1", version: token, token, grants: [{ token, holder: "task/t", expiresAtMs }] },
    ...more,
  });

  test("lets only the token in that the lease shows: none before a grant, none given back, none expired", async () => {
    const clock = new SimClock();
    let lease: Lease | null = null;
    const { door, ran } = await openDoor(undefined, undefined, async () => lease, clock);
    const unknown = door.handle(command(1, "a"));
    await clock.advanceAsync(2 * LEASE_WAIT_MS);
    expect(await unknown).toMatchObject({ ok: false, code: "UNKNOWN_TOKEN" });
    lease = lend(1, clock.now() + 1_000);
    expect(await door.handle(command(1, "b"))).toMatchObject({ ok: true });
    await clock.advanceAsync(1_000);
    expect(await door.handle(command(1, "c"))).toMatchObject({ ok: false, code: "STALE_TOKEN" });
    lease = lend(1, clock.now() + 1_000, { grants: [] });
    expect(await door.handle(command(1, "d"))).toMatchObject({ ok: false, code: "STALE_TOKEN" });
    expect(ran.map(({ invocationId }) => invocationId)).toEqual(["b"]);
  });

  test("waits for a lease that is behind a fresh grant, and is not shut by a token that was never issued", async () => {
    const clock = new SimClock();
    let lease = lend(1, Infinity);
    const { door } = await openDoor(undefined, undefined, async () => lease, clock);
    const forged = door.handle(command(1_000_000, "forged"));
    expect(await door.handle(command(1, "meanwhile"))).toMatchObject({ ok: true });
    await clock.advanceAsync(2 * LEASE_WAIT_MS);
    expect(await forged).toMatchObject({ ok: false, code: "UNKNOWN_TOKEN" });
    const fresh = door.handle(command(2, "fresh"));
    await clock.advanceAsync(50);
    lease = lend(2, Infinity);
    await clock.advanceAsync(50);
    expect(await fresh).toMatchObject({ ok: true });
  });

  test("refuses when the lease cannot be read", async () => {
    const clock = new SimClock();
    const away = () => Promise.reject(new Error("No answer from NATS"));
    const { door, ran } = await openDoor(undefined, undefined, away, clock);
    const answer = door.handle(command(1, "a"));
    await clock.advanceAsync(2 * LEASE_WAIT_MS);
    expect(await answer).toMatchObject({ ok: false, code: "LEASE_UNREADABLE" });
    expect(ran).toEqual([]);
  });

  test("remembers the highest token over a restart", async () => {
    const { door } = await openDoor();
    await door.handle(command(41, "a"));
    const { door: reborn, ran } = await openDoor();
    expect(await reborn.handle(command(40, "b"))).toMatchObject({ code: "STALE_TOKEN" });
    expect(await reborn.handle(command(41, "c"))).toMatchObject({ ok: true });
    expect(ran).toHaveLength(1);
  });

  test("has the token on disk before the command runs, and runs nothing when it cannot be stored", async () => {
    const seen: string[] = [];
    const { door } = await openDoor(async () => {
      seen.push(await readFile(tokenPath(), "utf8"));
      return { ok: true, output: null, evidence: [] };
    });
    await door.handle(command(7, "a"));
    expect(seen).toEqual(["7\n"]);
    const broken: TokenFile = { highest: 0, raise: () => Promise.reject(new Error("Disk is full")) };
    const { door: other, ran } = await openDoor(undefined, broken);
    expect(await other.handle(command(1, "a"))).toMatchObject({
      ok: false,
      code: "DRIVER_FAILED",
      error: expect.stringContaining("Disk is full"),
    });
    expect(ran).toEqual([]);
  });

  test("answers a repeated command that failed from memory, and does it anew under a new key", async () => {
    let calls = 0;
    const { door } = await openDoor(async () => {
      if (++calls === 1) throw new Error("Infrared is unplugged");
      return { ok: true, output: null, evidence: [] };
    });
    expect(await door.handle(command(1, "a"))).toMatchObject({ ok: false, code: "DRIVER_FAILED" });
    expect(await door.handle(command(1, "a"))).toMatchObject({ ok: false, code: "DRIVER_FAILED" });
    expect(calls).toBe(1);
    expect(await door.handle(command(1, "b"))).toMatchObject({ ok: true });
  });

  test("refuses what is beyond its queue, and forgets the oldest answers beyond its memory", async () => {
    const gate = Promise.withResolvers<void>();
    let held = true;
    const { door, ran } = await openDoor(async () => {
      if (held) await gate.promise;
      return { ok: true, output: null, evidence: [] };
    });
    const waiting = Array.from({ length: QUEUE_LIMIT }, (_, i) => door.handle(command(1, `w${i}`)));
    expect(await door.handle(command(1, "over"))).toMatchObject({ ok: false, code: "BUSY" });
    held = false;
    gate.resolve();
    await Promise.all(waiting);
    for (let i = 0; i < ANSWERS_LIMIT; i++) await door.handle(command(1, `n${i}`));
    const before = ran.length;
    await door.handle(command(1, "w0"));
    expect(ran).toHaveLength(before + 1);
  });

  test("stops what runs under a token, answers once it has ended, and lets nothing under that token in again", async () => {
    const [began, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { door, ran } = await openDoor(async (_command, signal) => {
      began.resolve();
      await once(signal, "abort");
      await ended.promise;
      throw signal.reason;
    });
    const first = door.handle(command(3, "a"));
    const second = door.handle(command(3, "b"));
    await began.promise;
    let answered = false;
    const stopping = door.handle({ stop: true, token: 3 }).finally(() => (answered = true));
    expect(await door.handle({ stop: true, token: 2 })).toMatchObject({ ok: true, stopped: true });
    expect(answered).toBe(false);
    ended.resolve();
    expect(await stopping).toEqual({ ok: true, stopped: true, output: null, evidence: [] });
    expect(await first).toMatchObject({ ok: false, code: "STOPPED" });
    expect(await second).toMatchObject({ ok: false, code: "STOPPED" });
    expect(await door.handle(command(3, "c"))).toMatchObject({ ok: false, code: "STOPPED" });
    expect(ran).toHaveLength(1);
  });

  test("stops what runs under an older token when a newer holder comes", async () => {
    const began = Promise.withResolvers<void>();
    const { door } = await openDoor(async ({ token }, signal) => {
      if (token === 4) return { ok: true, output: "mine", evidence: [] };
      began.resolve();
      await once(signal, "abort");
      throw signal.reason;
    });
    const old = door.handle(command(3, "a"));
    await began.promise;
    expect(await door.handle(command(4, "b"))).toMatchObject({ ok: true, output: "mine" });
    expect(await old).toMatchObject({ ok: false, code: "STOPPED" });
  });

  test("stops nothing under a token that was never issued: it would shut its holder to be out", async () => {
    const { door } = await openDoor();
    expect(await door.handle({ stop: true, token: 101 })).toMatchObject({ ok: false, code: "UNKNOWN_TOKEN" });
    expect(await door.handle({ stop: true })).toMatchObject({ ok: false, code: "NO_TOKEN" });
    const unread = await openDoor(undefined, undefined, () => Promise.reject(new Error("away")));
    expect(await unread.door.handle({ stop: true, token: 1 })).toMatchObject({ ok: false, code: "LEASE_UNREADABLE" });
  });

  test("answers anything with a refusal or a result, and never throws", async () => {
    const { door } = await openDoor();
    const bodies = fc.oneof(
      fc.jsonValue(),
      fc.record(
        { command: fc.anything(), params: fc.anything(), token: fc.anything(), invocationId: fc.anything() },
        { requiredKeys: [] },
      ),
    );
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const answer = await door.handle(body);
        expect(typeof answer.ok).toBe("boolean");
        if (!answer.ok) expect(answer.error).not.toBe("");
      }),
      { numRuns: 200 },
    );
  });

  test("lets no older token act after a newer one, in whatever order they come", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 20 }), async (tokens) => {
        let stored = 0;
        const file: TokenFile = {
          get highest() {
            return stored;
          },
          raise: async (token) => {
            stored = Math.max(stored, token);
          },
        };
        const { door, ran } = await openDoor(undefined, file);
        await Promise.all(tokens.map((token, i) => door.handle(command(token, String(i)))));
        const acted = ran.map(({ token }) => token);
        expect(acted).toEqual(acted.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe("openTokenFile()", () => {
  test("refuses a damaged file instead of forgetting what it held", async () => {
    const path = join(directory, "damaged.token");
    await writeFile(path, "not a number");
    await expect(openTokenFile(path)).rejects.toThrow(/holds "not a number" and no whole number/);
  });

  test("keeps the highest of raises that run at once", async () => {
    const path = join(directory, "race.token");
    const file = await openTokenFile(path);
    await Promise.all([3, 9, 4].map((token) => file.raise(token)));
    expect((await openTokenFile(path)).highest).toBe(9);
  });
});

describe("runCommand()", () => {
  const setUp = () => {
    const clock = new SimClock();
    const device = new SimulatedDevice("sunri-pi1", labHost("sunri-pi1")?.devices[1] as never, clock);
    const run = async (name: string, params = {}) => {
      const answer = runCommand(device, name, params, { clock, signal: new AbortController().signal });
      await clock.advanceAsync(2_000);
      return await answer;
    };
    return { device, run };
  };

  test("shows an incident in the frame before HOME and none after, each as evidence", async () => {
    const { device, run } = setUp();
    device.begin("blackscreen");
    expect(await run("frame")).toMatchObject({
      ok: true,
      output: { blackscreen: true },
      evidence: [{ kind: "frame_analysis", ref: expect.stringMatching(/^sunri-pi1\/device2\/capture_\d{4}\.jpg$/) }],
    });
    expect(await run("press_key", { key: "HOME" })).toMatchObject({
      ok: true,
      output: { screen: { app: "home" } },
      evidence: [{ kind: "key_press" }],
    });
    expect(await run("frame")).toMatchObject({ output: { blackscreen: false, freeze: false, audio: true } });
  });

  test("ends a freeze with a power cycle", async () => {
    const { device, run } = setUp();
    device.begin("freeze");
    expect(await run("frame")).toMatchObject({ output: { freeze: true } });
    expect(await run("power_cycle")).toMatchObject({
      ok: true,
      output: { via: "tapo", screen: { power: "on", app: "home" } },
    });
    expect(await run("frame")).toMatchObject({ output: { freeze: false, blackscreen: false } });
  });

  test("gives a degraded analysis as it is, without evidence", async () => {
    const { device, run } = setUp();
    device.begin("degraded");
    expect(await run("frame")).toEqual({
      ok: true,
      output: { analyzed: true, subtitle_ocr_pending: true, error: "failed_to_save_full_data" },
      evidence: [],
    });
  });

  test("takes a screenshot whose digest changes with the picture", async () => {
    const { device, run } = setUp();
    const before = await run("screenshot");
    device.begin("blackscreen");
    const after = await run("screenshot");
    expect(before).toMatchObject({ ok: true, evidence: [{ kind: "screenshot" }] });
    expect(after).not.toMatchObject({ output: (before as { output: { sha256: string } }).output });
  });

  test("refuses an unknown command and an unknown key with what there is", async () => {
    const { run } = setUp();
    expect(await run("explode")).toMatchObject({
      ok: false,
      code: "UNKNOWN_COMMAND",
      error: expect.stringContaining("press_key"),
    });
    expect(await run("press_key", { key: "EJECT" })).toMatchObject({
      ok: false,
      code: "BAD_PARAMS",
      error: expect.stringContaining("HOME"),
    });
    expect(await run("press_key", { key: "constructor" })).toMatchObject({ ok: false, code: "BAD_PARAMS" });
  });
});
