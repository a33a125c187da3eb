/** What of a task runs in a process: who may say that nothing of it does. */
import { expect, test } from "vitest";
import { LiveRuns, REMEMBERED_LIMIT } from "../../agents/live-runs.ts";
import { AbortedError } from "../../runtime/errors.ts";

const never = new AbortController().signal;

test("over() knows nothing of a task that never ran here: another process may still run it", async () => {
  expect(await new LiveRuns().over("t1", never)).toBe(false);
});

test("over() waits for each run of the task, however it ends, and for no other task's", async () => {
  const runs = new LiveRuns();
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  void runs.track("t2", () => new Promise(() => undefined));
  const kept = runs.track("t1", () => first.promise);
  const failed = runs.track("t1", () => second.promise);
  let isOver = false;
  const over = runs.over("t1", never).finally(() => (isOver = true));
  first.resolve("done");
  expect(await kept).toBe("done");
  expect(isOver).toBe(false);
  second.reject(new Error("It broke"));
  await expect(failed).rejects.toThrow("It broke");
  expect(await over).toBe(true);
  expect(await runs.over("t1", never)).toBe(true);
});

test("over() ends with its signal while a run does not end", async () => {
  const runs = new LiveRuns();
  void runs.track("t1", () => new Promise(() => undefined));
  const controller = new AbortController();
  const over = runs.over("t1", controller.signal);
  controller.abort();
  await expect(over).rejects.toThrow(AbortedError);
});

test("track() forgets the oldest tasks beyond its limit, but none that runs", async () => {
  const runs = new LiveRuns();
  void runs.track("running", () => new Promise(() => undefined));
  for (let i = 0; i <= REMEMBERED_LIMIT; i++) await runs.track(`t${i}`, async () => i);
  const controller = new AbortController();
  const over = runs.over("running", controller.signal);
  controller.abort();
  await expect(over).rejects.toThrow(AbortedError);
  expect(await Promise.all(["t0", "t1", `t${REMEMBERED_LIMIT}`].map((task) => runs.over(task, never)))).toEqual([
    false,
    false,
    true,
  ]);
});
