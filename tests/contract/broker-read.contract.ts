/** Reads and removals of the port. Invariant: what a reader gets is its own copy, in sequence order. */
import { expect, test } from "vitest";
import type { StoredMessage } from "../../runtime/port.ts";
import { type Bench, bytes, text } from "./bench.ts";

const seqs = (messages: readonly StoredMessage[]) => messages.map(({ seq }) => seq);

async function fill({ broker, sub }: Bench, tails: readonly string[]): Promise<void> {
  for (const tail of tails) await broker.append(sub(tail), bytes(tail));
}

export function readContract(bench: () => Bench): void {
  test("getLast() gives the last message of the subject, or null", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    expect(await broker.getLast(name, sub("a"))).toBeNull();
    await fill(bench(), ["a", "a", "b"]);
    const last = await broker.getLast(name, sub("a"));
    expect([last?.stream, last?.subject, last?.seq, text(last?.data ?? bytes(""))]).toEqual([name, sub("a"), 2, "a"]);
    expect(await broker.getLast(name, sub("c"))).toBeNull();
  });

  test("getLast() gives a delete marker as any other message", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream({ max_msgs_per_subject: 1 });
    await fill(bench(), ["a"]);
    await broker.append(sub("a"), bytes(""), { headers: { "KV-Operation": "DEL" } });
    const last = await broker.getLast(name, sub("a"));
    expect([last?.seq, last?.data.length, last?.header("KV-Operation")]).toEqual([2, 0, "DEL"]);
  });

  test("getLast() sees a write as soon as its append resolved, from any connection", async () => {
    const { broker, other, sub, stream } = bench();
    const name = await stream();
    for (let i = 1; i <= 20; i += 1) {
      await broker.append(sub("a"), bytes(`${i}`));
      expect((await other.getLast(name, sub("a")))?.seq).toBe(i);
    }
  });

  test("a StoredMessage is the reader's own: changing it changes nothing stored", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await fill(bench(), ["aaa", "bbb"]);
    const [first] = await broker.read(name, { subject: sub(">") });
    const last = await broker.getLast(name, sub("aaa"));
    first?.data.fill(0);
    last?.data.fill(0);
    expect((await broker.read(name, { subject: sub(">") })).map(({ data }) => text(data))).toEqual(["aaa", "bbb"]);
  });

  test("read() pages through the matching messages in sequence order", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await fill(bench(), ["a.1", "b.1", "a.2", "a.1", "b.2", "a.3"]);
    expect(seqs(await broker.read(name, { subject: sub(">") }))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(seqs(await broker.read(name, { subject: sub("a.*") }))).toEqual([1, 3, 4, 6]);
    expect(seqs(await broker.read(name, { subject: sub("a.*"), limit: 2 }))).toEqual([1, 3]);
    expect(seqs(await broker.read(name, { subject: sub("a.*"), fromSeq: 4, limit: 2 }))).toEqual([4, 6]);
    expect(seqs(await broker.read(name, { subject: sub("a.*"), fromSeq: 5, limit: 2 }))).toEqual([6]);
    expect(seqs(await broker.read(name, { subject: sub("b.2") }))).toEqual([5]);
  });

  test("read() of nothing is an empty page", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    expect(await broker.read(name, { subject: sub(">") })).toEqual([]);
    await fill(bench(), ["a"]);
    expect(await broker.read(name, { subject: sub("b") })).toEqual([]);
    expect(await broker.read(name, { subject: sub("a"), fromSeq: 2 })).toEqual([]);
  });

  test("read() gives 256 messages at most when no limit is named", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await Promise.all(Array.from({ length: 300 }, () => broker.append(sub("a"), bytes("x"))));
    const page = await broker.read(name, { subject: sub("a") });
    expect([page.length, page.at(-1)?.seq]).toEqual([256, 256]);
    expect((await broker.read(name, { subject: sub("a"), fromSeq: 257 })).length).toBe(44);
  });

  test("read() passes over removed messages", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await fill(bench(), ["a", "a", "a", "a"]);
    await broker.remove(name, 2);
    expect(seqs(await broker.read(name, { subject: sub("a"), limit: 3 }))).toEqual([1, 3, 4]);
  });

  test("readLast() gives the last message of every matching subject, at most the limit", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    expect(await broker.readLast(name, sub("*"), 10)).toEqual([]);
    await fill(bench(), ["a", "b", "a", "c", "b", "x.y"]);
    expect(new Set(seqs(await broker.readLast(name, sub("*"), 10)))).toEqual(new Set([3, 4, 5]));
    expect(seqs(await broker.readLast(name, sub("b"), 10))).toEqual([5]);
    expect((await broker.readLast(name, sub(">"), 2)).length).toBe(2);
    expect(await broker.readLast(name, sub("none"), 10)).toEqual([]);
  });

  test("readLast() serves more than a thousand subjects", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => broker.append(sub(`k${i}`), bytes("x"))));
    expect((await broker.readLast(name, sub("*"), 5_000)).length).toBe(1_500);
  });

  test("subjects() counts the messages of each matching subject", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    expect(await broker.subjects(name, sub(">"))).toEqual(new Map());
    await fill(bench(), ["a.1", "a.2", "a.1", "b"]);
    expect(await broker.subjects(name, sub("a.*"))).toEqual(
      new Map([
        [sub("a.1"), 2],
        [sub("a.2"), 1],
      ]),
    );
    expect((await broker.subjects(name, sub(">"))).size).toBe(3);
  });

  test("purge() removes what is below the sequence, or all, and says how many", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await fill(bench(), ["a", "b", "a", "a"]);
    expect(await broker.purge(name, { subject: sub("a"), belowSeq: 3 })).toBe(1);
    expect(seqs(await broker.read(name, { subject: sub(">") }))).toEqual([2, 3, 4]);
    expect(await broker.purge(name, { subject: sub("*") })).toBe(3);
    expect(await broker.purge(name, { subject: sub("*") })).toBe(0);
    expect(await broker.append(sub("a"), bytes("next"))).toBe(5);
  });

  test("remove() removes one message, and is false if there was none", async () => {
    const { broker, sub, stream } = bench();
    const name = await stream();
    await fill(bench(), ["a", "a", "a"]);
    expect(await broker.remove(name, 2)).toBe(true);
    expect(await broker.remove(name, 2)).toBe(false);
    expect(await broker.remove(name, 99)).toBe(false);
    expect(seqs(await broker.read(name, { subject: sub("a") }))).toEqual([1, 3]);
  });
}
