/** Time in streams: times to live, delete markers, schedules. Invariant: nothing expires or fires early. */
import { expect, test } from "vitest";
import { type Bench, bytes, text } from "./bench.ts";

const S = 1_000_000_000;
/** The server may fire this much early by its own rounding, in ms. */
const EARLY_MS = 20;

export function expiryContract(bench: () => Bench): void {
  test("append() with ttlS lets the message go after that time, not before", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ allow_msg_ttl: true });
    await broker.append(sub("stays"), bytes("1"));
    const startMs = world.now();
    await broker.append(sub("goes"), bytes("2"), { ttlS: 1 });
    await world.until("it is gone", async () => (await broker.getLast(name, sub("goes"))) === null);
    expect(world.now() - startMs).toBeGreaterThanOrEqual(1_000 - EARLY_MS);
    expect(await broker.getLast(name, sub("stays"))).not.toBeNull();
  });

  test("append() with ttlS leaves a marker that followers and getLast() see, and compare-and-set counts", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({
      allow_msg_ttl: true,
      subject_delete_marker_ttl: 5 * S,
      max_msgs_per_subject: 1,
      allow_rollup_hdrs: true,
    });
    const seen: [string, number, string | undefined][] = [];
    await broker.follow(name, { subjects: [sub("*")], from: "all" }, (message) =>
      seen.push([message.subject, message.data.length, message.header("Nats-Marker-Reason")]),
    );
    const seq = await broker.append(sub("lease"), bytes("mine"), { ttlS: 1, expectedLastSubjectSeq: 0 });
    await world.until("the marker came", () => seen.length === 2);
    expect(seen).toEqual([
      [sub("lease"), 4, undefined],
      [sub("lease"), 0, "MaxAge"],
    ]);
    const marker = await broker.getLast(name, sub("lease"));
    expect([marker?.seq, marker?.data.length, marker?.header("Nats-Marker-Reason")]).toEqual([seq + 1, 0, "MaxAge"]);
    expect(await broker.append(sub("lease"), bytes("next"), { ttlS: 1, expectedLastSubjectSeq: seq + 1 })).toBe(
      seq + 2,
    );
  });

  test("a renewed message leaves no marker while it is renewed; max_age leaves one when it is not", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({
      allow_msg_ttl: true,
      max_age: S,
      subject_delete_marker_ttl: 5 * S,
      max_msgs_per_subject: 1,
      allow_rollup_hdrs: true,
    });
    const marked: string[] = [];
    await broker.follow(name, { subjects: [sub("*")], from: "new" }, (message) => {
      if (message.header("Nats-Marker-Reason") === "MaxAge") marked.push(message.subject);
    });
    await broker.append(sub("silent"), bytes("beat"));
    await world.until("silence was noticed, while the other beats", async () => {
      await broker.append(sub("alive"), bytes("beat"));
      return marked.length > 0;
    });
    expect(marked).toEqual([sub("silent")]);
  });

  test("a message that expires behind a newer one of its subject leaves no marker", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ allow_msg_ttl: true, subject_delete_marker_ttl: 5 * S, allow_rollup_hdrs: true });
    const marked: string[] = [];
    await broker.follow(name, { subjects: [sub("*")], from: "all" }, (message) => {
      if (message.header("Nats-Marker-Reason") !== undefined) marked.push(message.subject);
    });
    await broker.append(sub("kept"), bytes("older"), { ttlS: 1 });
    await broker.append(sub("kept"), bytes("newer"));
    await broker.append(sub("gone"), bytes("x"), { ttlS: 1 });
    await world.until("the other's marker came", () => marked.length > 0);
    expect(marked).toEqual([sub("gone")]);
    expect((await broker.read(name, { subject: sub("kept") })).map(({ data }) => text(data))).toEqual(["newer"]);
  });

  test("append() with a schedule publishes the data to the target at that time, once", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ allow_msg_schedules: true, allow_msg_ttl: true });
    const fired: [string, string, string | undefined, number][] = [];
    await broker.follow(name, { subjects: [sub("fire")], from: "all" }, (message) =>
      fired.push([message.subject, text(message.data), message.header("Own-Key"), world.now()]),
    );
    const atMs = world.now() + 1_000;
    await broker.append(sub("timer"), bytes("wake"), {
      schedule: { atMs, target: sub("fire") },
      headers: { "Own-Key": "kept" },
    });
    expect(await broker.getLast(name, sub("timer"))).not.toBeNull();
    await world.until("it fired", () => fired.length > 0);
    expect(fired.map((entry) => entry.slice(0, 3))).toEqual([[sub("fire"), "wake", "kept"]]);
    expect(fired[0]?.[3]).toBeGreaterThanOrEqual(atMs - EARLY_MS);
    await world.until("the schedule is gone", async () => (await broker.getLast(name, sub("timer"))) === null);
  });

  test("append() with a schedule of the past fires at once", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ allow_msg_schedules: true });
    await broker.append(sub("timer"), bytes("late"), { schedule: { atMs: world.now() - 5_000, target: sub("fire") } });
    await world.until("it fired", async () => (await broker.getLast(name, sub("fire"))) !== null);
  });

  test("append() with a schedule replaces the subject's former schedule; a purge cancels it", async () => {
    const { broker, sub, stream, world } = bench();
    const name = await stream({ allow_msg_schedules: true });
    const fired: string[] = [];
    await broker.follow(name, { subjects: [sub("fire.*")], from: "all" }, ({ data }) => fired.push(text(data)));
    const atMs = world.now() + 1_000;
    await broker.append(sub("timer.a"), bytes("former"), { schedule: { atMs, target: sub("fire.a") } });
    await broker.append(sub("timer.a"), bytes("new"), { schedule: { atMs: atMs + 200, target: sub("fire.a") } });
    await broker.append(sub("timer.b"), bytes("cancelled"), { schedule: { atMs, target: sub("fire.b") } });
    await broker.purge(name, { subject: sub("timer.b") });
    await broker.append(sub("timer.c"), bytes("last"), { schedule: { atMs: atMs + 800, target: sub("fire.c") } });
    await world.until("the last fired", () => fired.includes("last"));
    expect(fired).toEqual(["new", "last"]);
  });
}
