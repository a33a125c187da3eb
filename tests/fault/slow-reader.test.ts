/** A watcher that stops reading. Invariant: it costs a bounded part of memory, is cut off, disturbs nobody, and sees the latest state when it wakes. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { connect as connectNats } from "nats";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MAX_PENDING_BYTES } from "../../nats-config/server-config.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";
import { FaultCluster, HEAL_DEADLINE_MS, NAMESPACE } from "./support/cluster.ts";
import { board } from "./support/kinds.ts";
import { residentMiB } from "./support/memory.ts";
import { until } from "./support/wait.ts";

const WORKER = fileURLToPath(new URL("./workers/watcher.ts", import.meta.url));
const NAME = "stopped-watcher";
/** Of one state: a few hundred are more than the server keeps for a reader. */
const STATE_BYTES = 200_000;
/** What the node may need more than before for its own work, in MiB. All that the watcher missed is several times more. */
const MEMORY_SLACK_MIB = 150;
const MIB = 1_024 ** 2;
/** As the server's monitoring has it. */
const CLOSED_CONNECTIONS = JSON.stringify({ state: 1 });

let server: TestServer;
let cluster: FaultCluster;
beforeAll(async () => {
  server = await startTestServer();
  cluster = await FaultCluster.start(1, { server });
});
afterAll(() => cluster.stop());

/** Why the server ended the watcher's connection, once it has. */
async function cutReason(): Promise<string | undefined> {
  const system = await connectNats({ servers: server.url, ...server.systemUser });
  try {
    const answer = await system.request("$SYS.REQ.SERVER.PING.CONNZ", CLOSED_CONNECTIONS);
    const { data } = answer.json<{ data: { connections?: { name?: string; reason?: string }[] } }>();
    return data.connections?.find(({ name }) => name === NAME)?.reason;
  } finally {
    await system.close();
  }
}

test("a watcher that does not read is cut off, and resumes with the latest state", async () => {
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error("The cluster has no node");
  let revision = 0;
  const write = async () => {
    await cluster.client.tell(board, "b", { type: "WRITE", text: "w".repeat(STATE_BYTES) });
    return ++revision;
  };
  await write();
  const watcher = spawn(process.execPath, [WORKER, server.url, NAMESPACE, "board", "b", NAME], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  let seen = 0;
  createInterface({ input: watcher.stdout }).on("line", (line) => {
    seen = Number(line);
  });
  const ended = new AbortController();
  let seenByOther = 0;
  const other = (async () => {
    for await (const view of cluster.client.watch(board, "b", { signal: ended.signal })) seenByOther = view.revision;
  })();
  try {
    await until("both to watch", HEAL_DEADLINE_MS, () => seen === revision && seenByOther === revision);
    const before = { node: residentMiB(node.pid), server: residentMiB(server.embedded.pid) };
    let most = before.node;
    watcher.kill("SIGSTOP");
    const stoppedAt = performance.now();
    const reason = await until("the server to cut it off", HEAL_DEADLINE_MS, async () => {
      for (let i = 0; i < 20; i++) await write();
      most = Math.max(most, residentMiB(node.pid));
      return await cutReason();
    });
    const cutMs = Math.round(performance.now() - stoppedAt);
    const writes = revision;
    await until("the other one to see all", HEAL_DEADLINE_MS, () => seenByOther === revision);
    watcher.kill("SIGCONT");
    await until("the watcher to see the latest", HEAL_DEADLINE_MS, () => seen === revision);
    await write();
    await until("the watcher to go on", HEAL_DEADLINE_MS, () => seen === revision);
    const missedMiB = Math.round((writes * STATE_BYTES) / MIB);
    console.log(JSON.stringify({ test: "slow-reader", reason, cutMs, writes, missedMiB, before, most }));
    expect(reason).toMatch(/slow consumer/i);
    expect(missedMiB).toBeLessThan((4 * MAX_PENDING_BYTES) / MIB);
    expect(most).toBeLessThan(before.node + MEMORY_SLACK_MIB);
  } finally {
    ended.abort();
    watcher.kill("SIGKILL");
    await other;
  }
});
