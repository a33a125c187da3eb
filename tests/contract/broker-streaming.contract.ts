/** Followers and shared consumers of the port. Invariant: followers see each message once and in order; consumers until it is acknowledged. */
import { expect, test } from "vitest";
import { StreamFullError } from "../../runtime/errors.ts";
import type { Delivery } from "../../runtime/port.ts";
import { type Bench, bytes, text } from "./bench.ts";

/** Longer than any test lasts: no redelivery unless a test wants one. */
const PATIENT_MS = 60_000;
/** The server's timers may be this much early by rounding, in ms. */
const EARLY_MS = 20;

async function appendAll({ broker, sub }: Bench, tail: string, from: number, to: number): Promise<void> {
  await Promise.all(Array.from({ length: to - from + 1 }, (_, i) => broker.append(sub(tail), bytes(`${from + i}`))));
}

const span = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

export function streamingContract(bench: () => Bench): void {
  followContract(bench);
  consumeContract(bench);
  groupContract(bench);
}

function followContract(bench: () => Bench): void {
  test("follow() from all gives the past and what comes, each once and in order", async () => {
    const { broker, other, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 500);
    const seen: string[] = [];
    await other.follow(name, { subjects: [sub("a")], from: "all" }, ({ data }) => seen.push(text(data)));
    await appendAll(bench(), "a", 501, 1_000);
    await broker.append(sub("a"), bytes("end"));
    await world.until("the end came", () => seen.includes("end"));
    expect(seen).toEqual([...span(1, 1_000), "end"]);
  });

  test("follow() from last gives the last message of each subject, then what comes", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    for (const tail of ["a", "b", "a", "c.d", "b"]) await broker.append(sub(tail), bytes(tail));
    const seen: number[] = [];
    await broker.follow(name, { subjects: [sub("*")], from: "last" }, ({ seq }) => seen.push(seq));
    await broker.append(sub("a"), bytes("a"));
    await broker.append(sub("a"), bytes("a"));
    await world.until("the newest came", () => seen.includes(7));
    expect(seen).toEqual([3, 5, 6, 7]);
  });

  test("follow() from new gives only what comes", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 3);
    const seen: number[] = [];
    await broker.follow(name, { subjects: [sub("a")], from: "new" }, ({ seq }) => seen.push(seq));
    await appendAll(bench(), "a", 4, 5);
    await world.until("both came", () => seen.length === 2);
    expect(seen).toEqual([4, 5]);
  });

  test("follow() keeps to its subjects and gives whole stored messages", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    for (const tail of ["a.1", "b.1", "c.1", "a.2"])
      await broker.append(sub(tail), bytes(tail), { headers: { "Own-Key": tail } });
    const seen: (string | number | undefined)[][] = [];
    const times: number[] = [];
    await broker.follow(name, { subjects: [sub("a.*"), sub("c.1")], from: "all" }, (message) => {
      seen.push([
        message.stream,
        message.subject,
        message.seq,
        text(message.data),
        message.header("Own-Key"),
        message.header("Absent"),
      ]);
      times.push(message.timeMs);
    });
    await world.until("three came", () => seen.length === 3);
    expect(seen).toEqual(
      (
        [
          ["a.1", 1],
          ["c.1", 3],
          ["a.2", 4],
        ] as const
      ).map(([tail, seq]) => [name, sub(tail), seq, tail, tail, undefined]),
    );
    for (const timeMs of times) expect(Math.abs(timeMs - world.now())).toBeLessThan(20_000);
  });

  test("follow() hands out data that may be kept", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    const kept: Uint8Array[] = [];
    await broker.follow(name, { subjects: [sub("a")], from: "all" }, ({ data }) => kept.push(data));
    await appendAll(bench(), "a", 1, 200);
    await world.until("all came", () => kept.length === 200);
    expect(kept.map(text)).toEqual(span(1, 200));
  });

  test("follow() stops at once when unsubscribed", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 20);
    const seen: string[] = [];
    const end: string[] = [];
    const subscription = await broker.follow(name, { subjects: [sub("a")], from: "new" }, ({ data }) => {
      seen.push(text(data));
      subscription.unsubscribe();
      subscription.unsubscribe();
    });
    await broker.follow(name, { subjects: [sub("end")], from: "all" }, ({ data }) => end.push(text(data)));
    await appendAll(bench(), "a", 21, 40);
    await broker.append(sub("end"), bytes("end"));
    await world.until("the end came", () => end.length === 1);
    expect(seen).toEqual(["21"]);
  });
}

function consumeContract(bench: () => Bench): void {
  test("consume() gives each message once when it is acknowledged, past and coming", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 100);
    await broker.append(sub("b"), bytes("other"));
    const seen: [string, number][] = [];
    await broker.consume(
      name,
      { durable: "d", subjects: [sub("a")], maxInFlight: 16, ackWaitMs: PATIENT_MS },
      (delivery) => {
        seen.push([text(delivery.data), delivery.attempt]);
        delivery.ack();
      },
    );
    await appendAll(bench(), "a", 101, 200);
    await world.until("all came", () => seen.length >= 200);
    expect(seen).toEqual(span(1, 200).map((value) => [value, 1]));
  });

  test("consume() delivers again what is not acknowledged in time, counting the attempts", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await broker.append(sub("a"), bytes("1"));
    const seen: [number, number, number][] = [];
    await broker.consume(name, { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: 500 }, (delivery) => {
      seen.push([delivery.seq, delivery.attempt, world.now()]);
      if (delivery.attempt === 3 || delivery.seq > 1) delivery.ack();
    });
    await world.until("the third attempt came", () => seen.length === 3);
    await broker.append(sub("a"), bytes("2"));
    await world.until("the next came", () => seen.length >= 4);
    expect(seen.map(([seq, attempt]) => [seq, attempt])).toEqual([
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 1],
    ]);
    expect((seen[1]?.[2] ?? 0) - (seen[0]?.[2] ?? 0)).toBeGreaterThanOrEqual(500 - EARLY_MS);
  });

  test("nak() brings the message again after the delay", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await broker.append(sub("a"), bytes("1"));
    const seen: [number, number][] = [];
    await broker.consume(
      name,
      { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: PATIENT_MS },
      (delivery) => {
        seen.push([delivery.attempt, world.now()]);
        if (delivery.attempt === 1) delivery.nak(400);
        else delivery.ack();
      },
    );
    await world.until("it came again", () => seen.length === 2);
    expect(seen.map(([attempt]) => attempt)).toEqual([1, 2]);
    expect((seen[1]?.[1] ?? 0) - (seen[0]?.[1] ?? 0)).toBeGreaterThanOrEqual(400 - EARLY_MS);
  });

  test("consume() never has more than maxInFlight messages in flight", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 20);
    const held: Delivery[] = [];
    let most = 0;
    let done = 0;
    await broker.consume(
      name,
      { durable: "d", subjects: [sub("a")], maxInFlight: 3, ackWaitMs: PATIENT_MS },
      (delivery) => {
        held.push(delivery);
        most = Math.max(most, held.length);
      },
    );
    await world.until("all were served, three at a time", async () => {
      if (held.length < Math.min(3, 20 - done)) return false;
      await broker.flush(); // more would have come by now
      done += 1;
      held.shift()?.ack();
      return done === 20;
    });
    expect(most).toBe(3);
  });

  test("consume() hands out data that may be kept", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 100);
    const kept: Delivery[] = [];
    await broker.consume(
      name,
      { durable: "d", subjects: [sub("a")], maxInFlight: 200, ackWaitMs: PATIENT_MS },
      (delivery) => kept.push(delivery),
    );
    await world.until("all came", () => kept.length === 100);
    expect(kept.map(({ data }) => text(data))).toEqual(span(1, 100));
    expect(kept.map(({ stream: from, subject }) => `${from} ${subject}`)).toEqual(
      kept.map(() => `${name} ${sub("a")}`),
    );
  });
}

function groupContract(bench: () => Bench): void {
  test("consume() shares a durable among processes: each message goes to one of them", async () => {
    const { broker, other, sub, stream, world } = bench();
    const name = await stream();
    const seen: [string[], string[]] = [[], []];
    const options = { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: PATIENT_MS };
    for (const [i, member] of [broker, other].entries()) {
      await member.consume(name, options, (delivery) => {
        seen[i]?.push(text(delivery.data));
        delivery.ack();
      });
    }
    let last = 0;
    await world.until("both served", async () => {
      await appendAll(bench(), "a", last + 1, last + 20);
      last += 20;
      return seen[0].length > 0 && seen[1].length > 0;
    });
    await world.until("all came", () => seen[0].length + seen[1].length >= last);
    expect([...seen[0], ...seen[1]].map(Number).sort((a, b) => a - b)).toEqual(span(1, last).map(Number));
  });

  test("consume() goes on where its durable stood when all had left", async () => {
    const { broker, other, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 10);
    const options = { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: PATIENT_MS };
    const first: string[] = [];
    const subscription = await broker.consume(name, options, (delivery) => {
      first.push(text(delivery.data));
      delivery.ack();
    });
    await world.until("the first ten came", () => first.length === 10);
    subscription.unsubscribe();
    subscription.unsubscribe();
    await broker.flush();
    await appendAll(bench(), "a", 11, 20);
    const second: string[] = [];
    await other.consume(name, options, (delivery) => {
      second.push(text(delivery.data));
      delivery.ack();
    });
    await world.until("the rest came", () => second.length === 10);
    expect([first, second]).toEqual([span(1, 10), span(11, 20)]);
  });

  test("consume() of a work queue frees the room of what was acknowledged, and of nothing else", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ retention: "workqueue", discard: "new", max_msgs: 2 });
    await appendAll(bench(), "a", 1, 2);
    const refused = () =>
      broker.append(sub("a"), bytes("3")).then(
        () => false,
        (error: unknown) => error instanceof StreamFullError,
      );
    expect(await refused()).toBe(true);
    const seen: Delivery[] = [];
    const options = { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: PATIENT_MS };
    await broker.consume(name, options, (delivery) => seen.push(delivery));
    await world.until("both came", () => seen.length === 2);
    expect(await refused()).toBe(true);
    seen[0]?.ack();
    await world.until("there is room", async () => !(await refused()));
    expect((await broker.read(name, { subject: sub("a") })).map(({ seq }) => seq)).toEqual([2, 3]);
  });

  test("consume() hands what a vanished process held to another", async () => {
    const { broker, other, sub, stream, world } = bench();
    const name = await stream();
    await appendAll(bench(), "a", 1, 3);
    const options = { durable: "d", subjects: [sub("a")], maxInFlight: 4, ackWaitMs: 800 };
    const held: string[] = [];
    await broker.consume(name, options, (delivery) => held.push(text(delivery.data)));
    await world.until("the first holds all", () => held.length === 3);
    await broker.close();
    const seen: [string, boolean][] = [];
    await other.consume(name, options, (delivery) => {
      seen.push([text(delivery.data), delivery.attempt > 1]);
      delivery.ack();
    });
    await world.until("they came again", () => seen.length === 3);
    expect(new Map(seen)).toEqual(new Map(span(1, 3).map((value) => [value, true])));
  });
}
