/**
 * Known bugs, put between a node and its connection or over one method of the runtime, to see that the auditor finds them.
 * Invariant: the product knows nothing of them, and after a history none is left in place.
 */
import { makeNames } from "../../nats-config/subjects.ts";
import { Activation } from "../../runtime/activation.ts";
import { sleep } from "../../runtime/clock.ts";
import { Membership } from "../../runtime/membership.ts";
import type { Broker, StoredMessage } from "../../runtime/port.ts";
import type { MemoryWorld } from "../../runtime/port-memory.ts";
import { decodeRecord, encodeSeal, type Round } from "../../runtime/round.ts";
import { Saver } from "../../runtime/saver.ts";
import { Senders } from "../../runtime/senders.ts";
import type { ShardRecord } from "../../runtime/shard-table.ts";
import { Standby } from "../../runtime/standby.ts";
import type { ProcessClock } from "./process-clock.ts";
import { over } from "./wire.ts";

export interface Plant {
  readonly wrap?: (broker: Broker, clock: ProcessClock, memory: MemoryWorld) => Broker;
  /** Changes the runtime for one history; returns the way back. */
  readonly install?: (memory: MemoryWorld) => () => void;
}

export const NAMESPACE = "sim";
const names = makeNames({ namespace: NAMESPACE });
const JOURNAL_PREFIX = names.journal("", "").slice(0, -1);
/** The append follows its acknowledgement by this, in ms. */
const LATE_MS = 3;

const isJournal = (subject: string): boolean => subject.startsWith(JOURNAL_PREFIX);
const isSeal = (data: Uint8Array): boolean => decodeRecord(data).type === "seal";
const lastJournaled = (memory: MemoryWorld): number => memory.messages(names.stream.journal).at(-1)?.seq ?? 0;

/** A round is answered for as soon as it is on its way. */
function replyBeforeCommit(broker: Broker, clock: ProcessClock, memory: MemoryWorld): Broker {
  let last: Promise<number> = Promise.resolve(0);
  return over(broker, {
    append: async (subject, data, options) => {
      if (!isJournal(subject) || isSeal(data)) return await broker.append(subject, data, options);
      const before = last;
      last = (async () => {
        const expectedLastSubjectSeq = await before;
        await sleep(clock, LATE_MS);
        return await broker.append(subject, data, { expectedLastSubjectSeq });
      })();
      last.catch(() => undefined); // the next append tells
      await Promise.race([before, sleep(clock, 0)]);
      return lastJournaled(memory) + 1;
    },
  });
}

/** Whoever has a journal's name may append to it. */
const appendWithoutFence = (broker: Broker): Broker =>
  over(broker, {
    append: (subject, data, options) =>
      isJournal(subject) && !isSeal(data) ? broker.append(subject, data) : broker.append(subject, data, options),
  });

/** A checkpoint says that all is covered which is committed. */
function checkpointAhead(broker: Broker, _clock: ProcessClock, memory: MemoryWorld): Broker {
  const records = names.kv.shards.key("");
  return over(broker, {
    append: (subject, data, options) => {
      if (!subject.startsWith(records)) return broker.append(subject, data, options);
      const record = JSON.parse(Buffer.from(data).toString()) as ShardRecord;
      const ahead = { ...record, checkpoint: Math.max(record.checkpoint, lastJournaled(memory)) };
      return broker.append(subject, Buffer.from(JSON.stringify(ahead)), options);
    },
  });
}

/** A new owner believes that it sealed the former one's journal, and reads on as if it had. */
function takeoverWithoutSeal(broker: Broker): Broker {
  const believed = new Set<string>();
  const seal = (subject: string, seq: number): StoredMessage => ({
    stream: names.stream.journal,
    subject,
    seq,
    data: encodeSeal("nobody"),
    timeMs: 0,
    header: () => undefined,
  });
  const lastOf = async (subject: string) => (await broker.getLast(names.stream.journal, subject))?.seq ?? 1;
  return over(broker, {
    append: async (subject, data, options) => {
      if (!isJournal(subject) || !isSeal(data)) return await broker.append(subject, data, options);
      believed.add(subject);
      return await lastOf(subject);
    },
    getLast: async (stream, subject) =>
      believed.has(subject) ? seal(subject, await lastOf(subject)) : await broker.getLast(stream, subject),
    read: async (stream, options) => {
      const page = await broker.read(stream, options);
      return believed.has(options.subject) ? [...page, seal(options.subject, page.at(-1)?.seq ?? 1)] : page;
    },
  });
}

/** Puts `made` in the place of a method; returns the way back. */
function replaceMethod<T extends object, K extends keyof T>(type: T, name: K, made: (old: T[K]) => T[K]): () => void {
  const old = type[name];
  type[name] = made(old);
  return () => {
    type[name] = old;
  };
}

/** A snapshot that is due is stored as its round closes, not when the round is committed. */
const snapshotOfUncommitted = (memory: MemoryWorld): (() => void) =>
  replaceMethod(
    Saver.prototype,
    "onClose",
    (onClose) =>
      function (this: Saver, round: Round): void {
        onClose.call(this, round);
        round.seq = lastJournaled(memory) + 1;
        this.onCommitted(round);
        round.seq = 0;
      },
  );

/** Nobody remembers who was heard. */
const withoutDedupe = (): (() => void) => replaceMethod(Senders.prototype, "seen", () => () => undefined);

/** A query is answered with what memory shows, whether it is committed or not. */
const queryOfUncommitted = (): (() => void) => replaceMethod(Activation.prototype, "whenCommitted", () => (fn) => fn());

/** A node answers from what it knows, whoever may have taken over. */
function queryWithoutLease(): () => void {
  const own = Object.getOwnPropertyDescriptor(Membership.prototype, "mayAnswer") ?? {};
  Object.defineProperty(Membership.prototype, "mayAnswer", { ...own, get: () => true });
  return () => Object.defineProperty(Membership.prototype, "mayAnswer", own);
}

/** A standby takes its shadows for all that there is, though the journal went on to its seal. */
const shadowsWithoutTheRest = (memory: MemoryWorld): (() => void) =>
  replaceMethod(
    Standby.prototype,
    "take",
    (take) =>
      function (this: Standby, shard, record) {
        const shadows = take.call(this, shard, record);
        return shadows && { ...shadows, position: lastJournaled(memory) };
      },
  );

export const PLANTS: Readonly<Record<string, Plant>> = {
  "reply-before-commit": { wrap: replyBeforeCommit },
  "append-without-fence": { wrap: appendWithoutFence },
  "checkpoint-ahead": { wrap: checkpointAhead },
  "snapshot-of-uncommitted": { install: snapshotOfUncommitted },
  "takeover-without-seal": { wrap: takeoverWithoutSeal },
  "without-dedupe": { install: withoutDedupe },
  "query-of-uncommitted": { install: queryOfUncommitted },
  "query-without-lease": { install: queryWithoutLease },
  "shadows-without-the-rest": { install: shadowsWithoutTheRest },
};
