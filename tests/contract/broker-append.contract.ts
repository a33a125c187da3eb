/** Appends of the port: sequence, compare-and-set, duplicates, limits. Invariant: after every refusal the stream is read and is as before. */
import { DiscardPolicy } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { BrokerUnavailableError, RevisionConflictError, StreamFullError, TroupeError } from "../../runtime/errors.ts";
import { type Bench, bytes, text } from "./bench.ts";

export function appendContract(bench: () => Bench): void {
  test("append() resolves with the sequence under which the message is stored", async () => {
    const { broker, other, sub, stream, world } = bench();
    const name = await stream();
    const startMs = world.now();
    expect(await broker.append(sub("a"), bytes("one"), { headers: { "Own-Key": "v" } })).toBe(1);
    expect(await other.append(sub("b.c"), bytes("two"))).toBe(2);
    const [first, second] = await broker.read(name, { subject: sub(">") });
    expect([
      first?.stream,
      first?.subject,
      first?.seq,
      text(first?.data ?? bytes("")),
      first?.header("Own-Key"),
      first?.header("Absent"),
    ]).toEqual([name, sub("a"), 1, "one", "v", undefined]);
    expect([second?.subject, second?.seq, text(second?.data ?? bytes(""))]).toEqual([sub("b.c"), 2, "two"]);
    expect(Math.abs((first?.timeMs ?? 0) - startMs)).toBeLessThan(5_000);
  });

  test("append() keeps the order of calls when many are in flight", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    const seqs = await Promise.all(Array.from({ length: 200 }, (_, i) => broker.append(sub("a"), bytes(`${i}`))));
    expect(seqs).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    const stored = await broker.read(name, { subject: sub("a") });
    expect(stored.map(({ data }) => text(data))).toEqual(seqs.map((_, i) => `${i}`));
  });

  test("append() stores a copy: the caller may reuse its buffer", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    const buffer = bytes("before");
    await broker.append(sub("a"), buffer);
    buffer.fill(0);
    expect(text((await broker.getLast(name, sub("a")))?.data ?? buffer)).toBe("before");
  });

  test("append() reaches core subscribers of the subject too", async () => {
    const { broker, other, sub, stream, world } = bench();
    await stream();
    const seen: string[] = [];
    other.subscribe(sub("a"), (message) => seen.push(text(message.data)));
    await other.flush();
    await broker.append(sub("a"), bytes("x"));
    await world.until("the subscriber saw it", () => seen.length === 1);
    expect(seen).toEqual(["x"]);
  });

  test("append() throws BrokerUnavailableError when no stream takes the subject", async () => {
    const { broker, core } = bench();
    await expect(broker.append(core("nowhere"), bytes("x"), { timeoutMs: 300 })).rejects.toThrow(
      BrokerUnavailableError,
    );
  });

  test("append() with expectedLastSubjectSeq stores when it holds, 0 for an empty subject", async () => {
    const { broker, sub, stream } = bench();
    await stream();
    expect(await broker.append(sub("a"), bytes("1"), { expectedLastSubjectSeq: 0 })).toBe(1);
    expect(await broker.append(sub("b"), bytes("1"), { expectedLastSubjectSeq: 0 })).toBe(2);
    expect(await broker.append(sub("a"), bytes("2"), { expectedLastSubjectSeq: 1 })).toBe(3);
  });

  test.each([0, 2, 99])(
    "append() throws RevisionConflictError and stores nothing when %d is not the last sequence",
    async (expected) => {
      const { broker, sub, stream } = bench();
      const name = await stream();
      await broker.append(sub("a"), bytes("1"));
      await broker.append(sub("b"), bytes("2"));
      await expect(broker.append(sub("a"), bytes("3"), { expectedLastSubjectSeq: expected })).rejects.toThrow(
        RevisionConflictError,
      );
      expect((await broker.read(name, { subject: sub(">") })).map(({ seq }) => seq)).toEqual([1, 2]);
    },
  );

  test("append() with expectedLastSubjectSeq lets one of two racing writers win each time", async () => {
    const { broker, other, sub, stream } = bench();
    const name = await stream();
    let lastSeq = 0;
    for (let round = 0; round < 20; round += 1) {
      const racers = [broker, other].map((racer) =>
        racer.append(sub("a"), bytes(`${round}`), { expectedLastSubjectSeq: lastSeq }),
      );
      const outcomes = await Promise.allSettled(racers);
      const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      const lost = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
      expect([won.length, lost.length, lost[0] instanceof RevisionConflictError]).toEqual([1, 1, true]);
      lastSeq = won[0] ?? 0;
    }
    expect((await broker.read(name, { subject: sub("a") })).map(({ data }) => text(data))).toEqual(
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
  });

  test("append() with expectedLastSubjectSeq 0 holds again after a purge", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await broker.append(sub("a"), bytes("1"));
    await broker.purge(name, { subject: sub("a") });
    expect(await broker.append(sub("a"), bytes("2"), { expectedLastSubjectSeq: 0 })).toBe(2);
  });

  test("append() of a known messageId is dropped and answers with the first one's sequence", async () => {
    const { broker, other, sub, stream } = bench();
    const name = await stream();
    expect(await broker.append(sub("a"), bytes("1"), { messageId: "m1" })).toBe(1);
    expect(await other.append(sub("b"), bytes("again"), { messageId: "m1" })).toBe(1);
    expect(await broker.append(sub("a"), bytes("2"), { messageId: "m2" })).toBe(2);
    expect((await broker.read(name, { subject: sub(">") })).map(({ data }) => text(data))).toEqual(["1", "2"]);
  });

  test("append() takes a messageId again once the duplicate window is over", async () => {
    const { broker, sub, stream, world } = bench();
    await stream({ duplicate_window: 200_000_000 });
    const first = await broker.append(sub("a"), bytes("1"), { messageId: "m1" });
    await world.until(
      "the id is forgotten",
      async () => (await broker.append(sub("a"), bytes("2"), { messageId: "m1" })) > first,
    );
  });

  test("append() checks expectedLastSubjectSeq before the messageId: its own repetition conflicts", async () => {
    const { broker, sub, stream } = bench();
    await stream();
    const options = { expectedLastSubjectSeq: 0, messageId: "m1" };
    expect(await broker.append(sub("a"), bytes("1"), options)).toBe(1);
    await expect(broker.append(sub("a"), bytes("1"), options)).rejects.toThrow(RevisionConflictError);
  });

  test("append() throws StreamFullError, stores nothing and works again once there is room", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream({ discard: DiscardPolicy.New, max_bytes: 10_000 });
    const full = async () => {
      for (let i = 0; i < 20; i += 1) await broker.append(sub(`k${i}`), new Uint8Array(1_000));
    };
    await expect(full()).rejects.toThrow(StreamFullError);
    const held = (await broker.subjects(name, sub(">"))).size;
    expect(held).toBeGreaterThan(5);
    expect(held).toBeLessThan(10);
    await broker.purge(name, { subject: sub("k0") });
    expect(await broker.append(sub("k0"), new Uint8Array(1_000))).toBe(held + 1);
  });

  test("append() stores a message of maxPayload bytes and refuses a larger one, headers included, without a trace", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    const largest = new Uint8Array(broker.maxPayload);
    expect(await broker.append(sub("a"), largest)).toBe(1);
    await expect(broker.append(sub("a"), new Uint8Array(broker.maxPayload + 1))).rejects.toThrow(TroupeError);
    await expect(broker.append(sub("a"), largest, { messageId: "m1" })).rejects.toThrow(TroupeError);
    expect(broker.status).toBe("connected");
    expect(await broker.append(sub("b"), bytes("next"))).toBe(2);
    expect(await broker.subjects(name, sub(">"))).toEqual(
      new Map([
        [sub("a"), 1],
        [sub("b"), 1],
      ]),
    );
  });

  test("append() replaces the oldest of a subject when max_msgs_per_subject is reached", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream({ max_msgs_per_subject: 2 });
    for (const value of ["1", "2", "3"]) await broker.append(sub("a"), bytes(value));
    await broker.append(sub("b"), bytes("4"));
    expect((await broker.read(name, { subject: sub(">") })).map(({ seq }) => seq)).toEqual([2, 3, 4]);
  });
}
