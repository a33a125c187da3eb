/** Commands with real processes: what they say, how they end, and that nothing of them is left. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { OUTPUT_MAX_BYTES, runProcess, STOP_GRACE_MS } from "../../agents/run-process.ts";
import { CONFIRM_MS } from "../../actors/resource-grants.ts";
import { systemClock } from "../../runtime/clock.ts";
import { scribe, written } from "../support/scribe.ts";

const PARENT = fileURLToPath(new URL("../fixtures/scribe-parent.ts", import.meta.url));
/** A process starts and writes within this on a busy machine, in ms. */
const WRITES_MS = 10_000;
/** Between the end of a group and a look at its file another one would write this often. */
const PROOF_WRITES = 6;

let directory: string;
let controller: AbortController;
let witnesses = 0;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "troupe-process-"));
  controller = new AbortController();
});
afterEach(async () => {
  controller.abort();
  await rm(directory, { recursive: true, force: true });
});

const run = (command: readonly [string, ...string[]], options = {}) =>
  runProcess({ signal: controller.signal, clock: systemClock }, command, options);
const shell = (script: string, options = {}) => run(["/bin/sh", "-c", script], options);
const processes = () => process.getActiveResourcesInfo().filter((name) => name === "ProcessWrap");
const writes = (file: string, more: number) => {
  const before = written(file).length;
  return vi.waitFor(() => expect(written(file).length).toBeGreaterThanOrEqual(before + more), WRITES_MS);
};

/** Nobody writes to `file` while another scribe writes several times. */
async function expectSilent(file: string): Promise<void> {
  const last = written(file).length;
  const [other, witness] = [join(directory, `witness-${++witnesses}`), new AbortController()];
  const running = runProcess({ signal: witness.signal, clock: systemClock }, scribe(other));
  try {
    await writes(other, PROOF_WRITES);
    expect(written(file)).toHaveLength(last);
  } finally {
    witness.abort();
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
  }
}

describe("runProcess()", () => {
  test("gives the exit code, the output and the input that it was sent", async () => {
    const options = { input: "in", cwd: directory, env: { WORD: "env" } };
    expect(await shell('cat; echo "$WORD" >&2; pwd; exit 3', options)).toEqual({
      ...{ exitCode: 3, killedBy: null, droppedBytes: 0 },
      ...{ stdout: `in${directory}\n`, stderr: "env\n" },
    });
    expect(await shell("kill -KILL $$")).toMatchObject({ exitCode: null, killedBy: "SIGKILL" });
  });

  test("keeps the end of a long output and counts the rest", async () => {
    const { stdout, droppedBytes } = await shell("yes | head -c 1000000; echo end");
    expect([stdout.length, stdout.endsWith("end\n")]).toEqual([OUTPUT_MAX_BYTES, true]);
    expect(droppedBytes).toBe(1_000_004 - OUTPUT_MAX_BYTES);
  });

  test("says that a command cannot be started, and with what", async () => {
    await expect(run(["no-such-command"])).rejects.toMatchObject({
      code: "NOT_STARTED",
      message: expect.stringContaining('"no-such-command" cannot be started (spawn no-such-command ENOENT)') as string,
    });
    for (const words of ["a\0b", "x".repeat(200_000)])
      await expect(run(["/bin/echo", words])).rejects.toMatchObject({ code: "NOT_STARTED" });
    await vi.waitFor(() => expect(processes()).toEqual([]), WRITES_MS);
    controller.abort();
    await expect(shell(`echo x > ${join(directory, "f")}`)).rejects.toMatchObject({ code: "ABORTED" });
    expect(written(join(directory, "f"))).toEqual([]);
  });

  test.each([false, true])("ends the grandchildren too when its signal fires; deaf to SIGTERM: %s", async (deaf) => {
    const file = join(directory, "f");
    const running = run(scribe(file, { deaf }));
    await writes(file, 3);
    const began = performance.now();
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    if (deaf) expect(performance.now() - began).toBeGreaterThanOrEqual(STOP_GRACE_MS);
    await expectSilent(file);
  });

  test("ends what a command that has ended leaves behind", async () => {
    const file = join(directory, "f");
    const loop = 'while :; do date +%s%3N >> "$0"; sleep 0.05; done';
    const running = run(["/bin/sh", "-c", `/bin/sh -c '${loop}' "$0" & while ! [ -s "$0" ]; do :; done`, file]);
    expect(await running).toMatchObject({ exitCode: 0 });
    expect(written(file).length).toBeGreaterThan(0);
    await expectSilent(file);
  });

  test("ends with the process that started it, though that was killed", async () => {
    const file = join(directory, "f");
    const parent = spawn(process.execPath, [PARENT, file], { stdio: "inherit" });
    await writes(file, 3);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    // The guard is a process of its own and takes a moment; from then on nothing is written.
    await vi.waitFor(() => expectSilent(file), WRITES_MS);
  });
});

test("a takeover waits long enough for two graces, one after the other", () => {
  expect(CONFIRM_MS).toBeGreaterThan(2 * STOP_GRACE_MS);
});
