/**
 * Writes the records of a release: `node tests/golden/record.ts v0.1.0`. Invariant: records are written once, when a release
 * is made, and never changed: each later release must read and replay them.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { shardOf } from "../../runtime/address.ts";
import type { StoredMessage } from "../../runtime/port.ts";
import { startCluster, until } from "../support/cluster.ts";
import { startTestServer } from "../support/nats.ts";
import { GOLDEN_ADDRESS, golden } from "./machine.ts";

const [release = ""] = process.argv.slice(2);
if (!/^v\d+\.\d+\.\d+$/.test(release)) throw new Error("Name the release: node tests/golden/record.ts v0.1.0");
const folder = new URL(`./${release}/`, import.meta.url);
if (existsSync(folder)) throw new Error(`${release} is recorded: records are never changed`);

const { kind, id } = GOLDEN_ADDRESS;
const server = await startTestServer();
const cluster = await startCluster({ server, kinds: [golden] });
const { client } = cluster;
const { broker, names, shards } = client;
let seq = 0;
const send = async (type: string, text = "ü") => {
  seq++;
  // Every third is settled late, so that some answers are kept.
  await client
    .ask(kind, id, { type, text } as never, { from: { sender: "golden", seq, low: Math.max(1, seq - 2) } })
    .catch(() => undefined);
};
const settled = (n: number) => until(`revision ${n}`, async () => (await client.query(kind, id)).revision >= n);

for (const type of ["INC", "ID", "SOON"]) await send(type);
await settled(4);
for (const type of ["WORK", "SEND", "THROW", "NEXT", "GO", "INC"]) await send(type);
await settled(11);
await client.history(kind, id); // one chunk, one snapshot
for (const type of ["INC", "WORK", "BACK", "FAR"]) await send(type);
await settled(16);
await send("WAIT");
await client.history(kind, id);

const journal = await broker.read(names.stream.journal, { subject: names.journals });
const history = await broker.read(names.stream.history, { subject: names.history(kind, id) });
const snapshot = await broker.getLast(names.stream.snapshot, names.snapshot(shardOf(kind, id, shards), kind, id));
if (snapshot === null) throw new Error("Nothing was stored");

mkdirSync(folder);
const write = (name: string, messages: readonly StoredMessage[]) => {
  for (const [index, { data }] of messages.entries())
    writeFileSync(new URL(`${name}-${String(index + 1).padStart(2, "0")}.msgpack`, folder), data);
};
write("journal", journal);
write("history", history);
write("snapshot", [snapshot]);
const { status, value, context, revision } = await client.query(kind, id);
writeFileSync(new URL("expected.json", folder), `${JSON.stringify({ status, value, context, revision }, null, 2)}\n`);
for (const { node } of cluster.nodes) await node.stop();
await client.close();
await server.stop();
