/** What agents/README.md says of skills holds: its tables name what is sent, its TypeScript program runs as printed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import type { AgentContext } from "../../agents/agent-state.ts";
import { SkillRegistry } from "../../agents/skill.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { ActorNotFoundError } from "../../runtime/errors.ts";
import { connect } from "../../runtime/client.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { startTestServer } from "../support/nats.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = await readFile(join(root, "agents/README.md"), "utf8");
/** A node starts, takes over its shards and does one task, in ms. */
const PROGRAM_DEADLINE_MS = 30_000;

/** Names in the first column of the table with this heading. */
function namesIn(heading: string): string[] {
  const table = page.split("\n\n").find((block) => block.startsWith(`| ${heading} `)) ?? "";
  const cells = table.split("\n").slice(2);
  return cells.flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, name = ""]) => name));
}

test("a service is sent the fields of the table on the subject of the page, and its answer's fields are taken", async () => {
  const server = await startTestServer();
  const broker = await connectBroker({ servers: server.url });
  const names = makeNames();
  expect(page).toContain(`\`${names.skill("zap-checker")}\``);
  let sent: object = {};
  const answer = { status: "succeeded", output: { zaps: 3 }, evidence: [{ kind: "zaps", at: 1 }], message: "fine" };
  broker.subscribe(names.skill("zap-checker"), ({ data, reply }) => {
    sent = JSON.parse(new TextDecoder().decode(data)) as object;
    broker.publish(reply ?? "", new TextEncoder().encode(JSON.stringify(answer)));
  });
  await broker.flush();
  const call = {
    skill: "nats:zap-checker",
    args: {},
    device: null,
    token: null,
    fence: null,
    task: "t",
    step: "s",
    attempt: 1,
  };
  const key = { invocationId: "t/s/1", deadlineAtMs: Date.now() + PROGRAM_DEADLINE_MS };
  const result = await new SkillRegistry([], { broker, names }).runSkill(
    { ...call, ...key },
    new AbortController().signal,
  );
  expect(result).toEqual(answer);
  expect(namesIn("request").toSorted()).toEqual(Object.keys(sent).toSorted());
  expect(namesIn("answer").toSorted()).toEqual(Object.keys(result).toSorted());
  await broker.close();
  await server.stop();
});

test("the program with a skill of its own does a task with it when run as printed", { timeout: 60_000 }, async () => {
  const code = /```ts\n([\s\S]*?)```/.exec(page)?.[1] ?? "";
  const server = await startTestServer();
  const directory = await mkdtemp(join(root, "tests/examples/.run-"));
  const file = join(directory, "own.ts");
  await writeFile(file, code.replace('"troupe"', '"../../../index.ts"'));
  const program = spawn(process.execPath, [file], { env: { ...process.env, NATS_URL: server.url }, stdio: "inherit" });
  const ended = once(program, "exit");
  // Known once the program's node is up.
  const client = await vi.waitFor(() => connect({ servers: server.url }), PROGRAM_DEADLINE_MS);
  const { broker, names } = client;
  try {
    const contextOf = async () => {
      try {
        return (await client.query("agent", "listener")).context as AgentContext;
      } catch (error) {
        if (error instanceof ActorNotFoundError) return null;
        throw error;
      }
    };
    let sent = 0;
    const look = async (): Promise<string | undefined> => {
      const context = await contextOf();
      if (context === null) return undefined;
      // Its subscription is a message of its own and may arrive after the first event.
      const event = { id: `b${++sent}`, source: "ci", type: "build.deployed", data: {}, device: null };
      await broker.append(
        names.pool("shared.builds", "high", "build.deployed"),
        new TextEncoder().encode(JSON.stringify(event)),
      );
      return context.recent.at(0)?.task;
    };
    await expect.poll(look, { timeout: PROGRAM_DEADLINE_MS, interval: 200 }).toBeDefined();
    const task = (await contextOf())?.recent[0]?.task ?? "";
    expect((await client.query("task", task)).context).toMatchObject({
      outcome: "succeeded",
      evidence: [{ kind: "sound", data: { invocationId: `${task}/sound/1`, channel: 5, db: -23 } }],
    });
  } finally {
    program.kill("SIGKILL");
    await ended;
    await client.close();
    await server.stop();
    await rm(directory, { recursive: true });
  }
});
