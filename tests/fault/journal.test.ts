/** Lost acknowledgements and seals on a real server. Invariant: a round is in the journal once, or its writer knows that it is over. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { applyStreams } from "../../nats-config/apply.ts";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { systemClock } from "../../runtime/clock.ts";
import { encodeInput, Tag } from "../../runtime/envelope.ts";
import { BrokerUnavailableError, SealedError } from "../../runtime/errors.ts";
import { Journal, sealJournal } from "../../runtime/journal.ts";
import type { Broker } from "../../runtime/port.ts";
import { connectBroker } from "../../runtime/port-nats.ts";
import { decodeRecord, Round } from "../../runtime/round.ts";
import { startTestServer, type TestServer } from "../support/nats.ts";

const names = makeNames({ namespace: "jrn" });
let server: TestServer;
let broker: Broker;
beforeAll(async () => {
  server = await startTestServer();
  const connected = await connectBroker({ servers: server.url });
  await applyStreams(connected.connection, streamSpecs(names));
  broker = connected;
});
afterAll(async () => {
  await broker.close();
  await server.stop();
});

/** What the next appends lose: the whole request, or only the acknowledgement of what was stored. */
class Lossy {
  readonly losses: ("request" | "ack")[] = [];
  /** Runs between a stored append and the loss of its acknowledgement. */
  beforeLoss: () => Promise<unknown> = () => Promise.resolve();

  over(real: Broker): Broker {
    return new Proxy(real, {
      get: (target, key) => {
        if (key === "append") return (...args: Parameters<Broker["append"]>) => this.#append(target, args);
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }

  async #append(real: Broker, args: Parameters<Broker["append"]>): Promise<number> {
    const loss = this.losses.shift();
    if (loss === undefined) return await real.append(...args);
    if (loss === "ack") {
      await real.append(...args);
      await this.beforeLoss();
    }
    throw new BrokerUnavailableError(`The ${loss} was lost by the test`);
  }
}

function journalOf(node: string, lossy: Lossy) {
  const subject = names.journal(node, "i1");
  const journal = new Journal({
    broker: lossy.over(broker),
    clock: systemClock,
    stream: names.stream.journal,
    subject,
    closed: new AbortController().signal,
  });
  return { subject, journal };
}

function round(no: number): Round {
  const made = new Round(no);
  const body = encodeInput({
    tag: Tag.Tell,
    sender: "test",
    seq: no,
    low: no,
    ttlMs: 0,
    lane: 2,
    event: { type: "INC" },
  });
  made.inputs.push([no, "counter/a", body, null]);
  return made;
}

const stored = async (subject: string) =>
  (await broker.read(names.stream.journal, { subject })).map((message) => decodeRecord(message.data));

test("append() adopts its round when the acknowledgement was lost", async () => {
  const lossy = new Lossy();
  const { journal, subject } = journalOf("adopt", lossy);
  await journal.append(round(1));
  lossy.losses.push("ack");
  const seq = await journal.append(round(2));
  expect(journal.last).toBe(seq);
  await journal.append(round(3));
  expect(await stored(subject)).toMatchObject([{ no: 1 }, { no: 2 }, { no: 3 }]);
});

test("append() repeats its round when the request was lost", async () => {
  const lossy = new Lossy();
  const { journal, subject } = journalOf("repeat", lossy);
  lossy.losses.push("request", "request");
  await journal.append(round(1));
  lossy.losses.push("request", "ack");
  await journal.append(round(2));
  expect(await stored(subject)).toMatchObject([{ no: 1 }, { no: 2 }]);
});

test("append() throws SealedError after a seal, and writes nothing", async () => {
  const { journal, subject } = journalOf("sealed", new Lossy());
  await journal.append(round(1));
  await sealJournal(broker, names.stream.journal, subject, "other.i1");
  await expect(journal.append(round(2))).rejects.toThrow(SealedError);
  await expect(journal.append(round(2))).rejects.toThrow(SealedError);
  expect(await stored(subject)).toMatchObject([{ no: 1 }, { type: "seal", by: "other.i1" }]);
});

test("append() throws SealedError when its acknowledgement was lost and others sealed behind it", async () => {
  const lossy = new Lossy();
  const { journal, subject } = journalOf("behind", lossy);
  lossy.losses.push("ack");
  lossy.beforeLoss = () => sealJournal(broker, names.stream.journal, subject, "other.i1");
  // Committed, but its writer cannot act on it any more: the new owner replays it.
  await expect(journal.append(round(1))).rejects.toThrow(SealedError);
  expect(await stored(subject)).toMatchObject([{ no: 1 }, { type: "seal" }]);
});

test("sealJournal() is idempotent and closes a journal that was never written", async () => {
  const { journal, subject } = journalOf("empty", new Lossy());
  const seq = await sealJournal(broker, names.stream.journal, subject, "other.i1");
  expect(await sealJournal(broker, names.stream.journal, subject, "third.i1")).toBe(seq);
  await expect(journal.append(round(1))).rejects.toThrow(SealedError);
  expect(await stored(subject)).toMatchObject([{ type: "seal", by: "other.i1" }]);
});

test("sealJournal() wins or loses against an append as a whole, never both", async () => {
  for (let i = 0; i < 50; i++) {
    const { journal, subject } = journalOf(`race-${i}`, new Lossy());
    const [appended] = await Promise.allSettled([
      journal.append(round(1)),
      sealJournal(broker, names.stream.journal, subject, "other.i1"),
    ]);
    const records = await stored(subject);
    expect(records.at(-1)).toMatchObject({ type: "seal" });
    expect(records).toHaveLength(appended?.status === "fulfilled" ? 2 : 1);
  }
});
