import { enqueueActions, setup } from "xstate";
import pino from "pino";
import { startNode } from "../../runtime/node.ts";
import { connect } from "../../runtime/client.ts";
import { defineActor } from "../../runtime/define-actor.ts";
import { ref } from "../../runtime/author.ts";
import { uniqueId } from "../../runtime/transition-scope.ts";
import { startPumps, systemKinds } from "../../actors/index.ts";
import { startTestServer } from "./nats.ts";
const server = await startTestServer();
const agent = defineActor({ kind: "agent", machine: setup({ types: {} as any, actions: { run: enqueueActions(({ event, enqueue }: any) => {
  enqueue.sendTo(ref("task", uniqueId()), { type: "start", task: { agent: "qa", agentVersion: "1.0.0", trigger: event.event.type, event: event.event, device: event.event.device, priority: event.event.priority, lockTtlMs: 3000,
    steps: [{ id: "a", skill: "x", with: { t: "${event.data.id}" }, timeoutMs: 10000, retries: 1, needsDevice: true }, { id: "b", skill: "y", with: { o: "${steps.a.output.n}" }, timeoutMs: 10000, retries: 0, needsDevice: true }] } });
}) } }).createMachine({ initial: "on", states: { on: { on: { event: { actions: "run" }, "task.finished": {} } } } }) });
let driving = 0, most = 0; const calls: any[] = [];
const runSkill = async (call: any, run: any) => { driving++; most = Math.max(most, driving); calls.push([call.step, call.token, call.args, run.invocationId]); await new Promise((r) => setTimeout(r, 1500)); driving--; return { status: "succeeded" as const, output: { n: 5 }, evidence: [{ kind: "log", at: 1 }] }; };
const log = pino({ level: "warn" });
const mk = async (name: string) => { const node = await startNode({ name, servers: server.url, kinds: [...systemKinds({ runSkill }), agent], log, verifyDeterminism: true }); const pumps = await startPumps({ node, broker: node.client.broker, names: node.client.names, log }); return { node, pumps }; };
const n1 = await mk("n1"); const n2 = await mk("n2");
const client = await connect({ servers: server.url });
await client.ask("router", "shared:alerts", { type: "subscribe", agent: "qa", types: ["alert.*"] } as any);
const names = client.names; const J = (x: unknown) => Buffer.from(JSON.stringify(x));
client.broker.publish(names.deviceHeartbeat("h1", "d1"), J({ model: "stb" }));
for (let i = 0; i < 3; i++) client.broker.publish(names.deviceEvent("h1", "d1", "alert.blackscreen"), J({ id: "e" + i }));
client.broker.publish(names.deviceEvent("h1", "d1", "alert.blackscreen"), Buffer.from("{"));
const t0 = Date.now();
for (;;) { const tasks = await client.list("task"); const views = await Promise.all(tasks.map((t) => client.query("task", t.id))); if (views.length === 3 && views.every((v) => v.status === "done")) { console.log(views.map((v) => [v.value, (v.context as any).reason, v.revision])); break; } if (Date.now() - t0 > 30000) { console.log("late", views.map((v) => [v.value, v.context])); break; } await new Promise((r) => setTimeout(r, 300)); }
console.log("ms", Date.now() - t0, "most driving", most, calls);
const res = await client.query("resource", "h1:d1"); console.log(res.value, JSON.stringify((res.context as any).history));
const dev = await client.query("device", "h1:d1"); console.log(dev.value, JSON.stringify(dev.context));
console.log("dead", (await client.deadLetters()).map((d) => [d.reason, d.kind, d.cause]));
await new Promise((r) => setTimeout(r, 17000));
console.log("after silence", (await client.query("device", "h1:d1")).value);
console.log((await client.query("router", "shared:resources")).context, (await client.query("router", "shared:results")).context);
await Promise.all([n1.pumps.stop(), n2.pumps.stop()]); await client.close(); await n1.node.stop(); await n2.node.stop(); await server.stop();
