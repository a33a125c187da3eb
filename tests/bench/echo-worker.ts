/**
 * The floor under every durable call: the same port, the same group commit and the same journal, and nothing else: no
 * machine, no duplicate detection, no snapshots. `echo-worker.ts <url>`.
 */
import { applyStreams } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { systemClock } from "../../runtime/clock.ts";
import { Committer } from "../../runtime/committer.ts";
import { encodeValue } from "../../runtime/envelope.ts";
import { Journal } from "../../runtime/journal.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import type { Release } from "../../runtime/round.ts";
import { ECHO, ECHO_SHARD } from "./echo.ts";
import { serve } from "./process.ts";

const [servers = ""] = process.argv.slice(2);
const broker = await connectBroker({ servers });
await applyStreams(
  broker.connection,
  streamSpecs(ECHO).filter((spec) => spec.name === ECHO.stream.journal),
);
const journal = new Journal({
  broker,
  clock: systemClock,
  stream: ECHO.stream.journal,
  subject: ECHO.journal("echo", systemClock.randomId(6)),
  closed: new AbortController().signal,
});
const committer = new Committer(journal, {
  onClose: () => undefined,
  onCommitted: (round) => {
    for (const { letter, applied } of round.releases) letter.respond(applied.answer as Uint8Array);
  },
  onRoom: () => undefined, // 64 calls in flight never fill a round
  onFailed: (error) => {
    throw error;
  },
});
const counts = new Map<string, number>();
broker.subscribe(ECHO.actOfShard(ECHO_SHARD), ({ subject, data, reply }) => {
  if (reply === undefined) return;
  const key = subject.slice(subject.lastIndexOf(".") + 1);
  const n = (counts.get(key) ?? 0) + 1;
  counts.set(key, n);
  const answered = {
    letter: { respond: (answer: Uint8Array) => broker.answer(reply, answer) },
    applied: { answer: encodeValue({ n }) },
  };
  // There are no actors here, and the committer hands a release on without looking at it.
  committer.add([Date.now(), key, Buffer.from(data), null], answered as unknown as Release);
});
await broker.flush();
serve({}, { stop: () => broker.close() });
