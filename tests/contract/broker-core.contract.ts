/** Core messaging of the port: publish, subscribe, request, status. Invariant: every test ends on a message that must come, never on a pause. */
import { expect, test } from "vitest";
import { BrokerUnavailableError, NoResponderError } from "../../runtime/errors.ts";
import type { BrokerStatus } from "../../runtime/port.ts";
import { type Bench, bytes, text } from "./bench.ts";

/** Far longer than any answer takes: who waits for it was not answered at once. */
const LONG_MS = 60_000;

export function coreContract(bench: () => Bench): void {
  test("status is connected and maxPayload a positive size after connecting", () => {
    const { broker } = bench();
    expect(broker.status).toBe("connected");
    expect(broker.maxPayload).toBeGreaterThanOrEqual(64 * 1_024);
  });

  test("publish() reaches every subscriber in the order sent", async () => {
    const { broker, other, core, world } = bench();
    const seen: [string[], string[]] = [[], []];
    broker.subscribe(core("a"), (message) => seen[0].push(text(message.data)));
    other.subscribe(core("a"), (message) => seen[1].push(text(message.data)));
    await Promise.all([broker.flush(), other.flush()]);
    const sent = Array.from({ length: 100 }, (_, i) => String(i));
    for (const value of sent) expect(broker.publish(core("a"), bytes(value))).toBe(true);
    await world.until("both saw all", () => seen.every((list) => list.length >= sent.length));
    expect(seen).toEqual([sent, sent]);
  });

  test("giveUp() ends the requests that it picks at once, and no others", async () => {
    const { broker, other, core } = bench();
    const asked = new Map<string, string>();
    const heard = Promise.withResolvers<void>();
    other.subscribe(core("*"), ({ subject, reply }) => {
      asked.set(subject, reply ?? "");
      if (asked.size === 2) heard.resolve();
    });
    await other.flush();
    const [a, b] = [broker.request(core("a"), bytes("?"), LONG_MS), broker.request(core("b"), bytes("?"), LONG_MS)];
    await heard.promise;
    broker.giveUp((subject) => subject === core("a"));
    await expect(a).rejects.toThrow(BrokerUnavailableError);
    other.publish(asked.get(core("b")) ?? "", bytes("yes"));
    expect(text(await b)).toBe("yes");
  });

  test("publish() returns false and sends nothing when the connection is closed", async () => {
    const { broker, other, core, world } = bench();
    const seen: string[] = [];
    other.subscribe(core("a"), (message) => seen.push(text(message.data)));
    await other.flush();
    await broker.close();
    expect(broker.publish(core("a"), bytes("lost"))).toBe(false);
    other.publish(core("a"), bytes("last"));
    await world.until("the last came", () => seen.includes("last"));
    expect(seen).toEqual(["last"]);
  });

  test("answer() reaches the call that it answers, when many are answered in one turn", async () => {
    const { broker, other, core } = bench();
    const waiting: (readonly [string, Uint8Array])[] = [];
    other.subscribe(core("ask"), ({ reply, data }) => {
      waiting.push([reply ?? "", bytes(`re ${text(data)}`)]);
      if (waiting.length === 40) for (const [to, answer] of waiting) other.answer(to, answer);
    });
    await other.flush();
    const asked = Array.from({ length: 40 }, (_, i) => String(i));
    const answers = await Promise.all(asked.map((value) => broker.request(core("ask"), bytes(value), LONG_MS)));
    expect(answers.map(text)).toEqual(asked.map((value) => `re ${value}`));
  });

  test("publish() carries headers and the reply subject", async () => {
    const { broker, other, core, world } = bench();
    const seen: (string | undefined)[][] = [];
    other.subscribe(core("a"), (message) =>
      seen.push([message.subject, message.reply, message.header("Own-Key"), message.header("Absent")]),
    );
    await other.flush();
    broker.publish(core("a"), bytes("x"), { headers: { "Own-Key": "value one" }, reply: core("back") });
    broker.publish(core("a"), bytes("x"));
    await world.until("both came", () => seen.length === 2);
    expect(seen).toEqual([
      [core("a"), core("back"), "value one", undefined],
      [core("a"), undefined, undefined, undefined],
    ]);
  });

  test.each([
    ["a.*", ["a.b", "a.c"]],
    ["a.>", ["a.b", "a.b.c", "a.c"]],
    ["*.b", ["a.b", "c.b"]],
    ["a.*.c", ["a.b.c"]],
    ["a", ["a"]],
  ])("subscribe() to %s delivers just what matches", async (filter, expected) => {
    const { broker, core, world } = bench();
    const seen: string[] = [];
    const done: string[] = [];
    broker.subscribe(core(filter), (message) => seen.push(message.subject));
    broker.subscribe(core("end"), () => done.push("end"));
    await broker.flush();
    for (const tail of ["a", "a.b", "a.b.c", "a.c", "c.b", "ab"]) broker.publish(core(tail), bytes(""));
    broker.publish(core("end"), bytes(""));
    await world.until("the end came", () => done.length === 1);
    expect(seen).toEqual(expected.map(core));
  });

  test("unsubscribe() stops delivery at once, twice without harm", async () => {
    const { broker, other, core, world } = bench();
    const seen: string[] = [];
    const done: string[] = [];
    const subscription = broker.subscribe(core("a"), (message) => {
      seen.push(text(message.data));
      subscription.unsubscribe();
      subscription.unsubscribe();
    });
    broker.subscribe(core("end"), () => done.push("end"));
    await broker.flush();
    for (const value of ["1", "2", "3"]) other.publish(core("a"), bytes(value));
    other.publish(core("end"), bytes(""));
    await world.until("the end came", () => done.length === 1);
    expect(seen).toEqual(["1"]);
  });

  test("publish() of a Buffer gives each subscriber of a connection the whole message, and leaves it to the sender", async () => {
    const { broker, other, core, world } = bench();
    const seen: string[] = [];
    const sent = Buffer.from("whole");
    for (const _ of [1, 2]) other.subscribe(core("a"), (message) => seen.push(text(message.data)));
    await other.flush();
    broker.publish(core("a"), sent);
    await world.until("both saw it", () => seen.length === 2);
    expect([...seen, sent.toString()]).toEqual(["whole", "whole", "whole"]);
  });

  test("request() resolves with a copy of the responder's answer", async () => {
    const { broker, other, core } = bench();
    other.subscribe(core("echo"), (message) => other.publish(message.reply ?? "", bytes(`<${text(message.data)}>`)));
    await other.flush();
    const kept: Uint8Array[] = [];
    for (let i = 0; i < 50; i += 1) kept.push(await broker.request(core("echo"), bytes(`${i}`), LONG_MS));
    expect(kept.map(text)).toEqual(Array.from({ length: 50 }, (_, i) => `<${i}>`));
  });

  test("request() gives each of many in flight its own answer", async () => {
    const { broker, other, core } = bench();
    other.subscribe(core("echo"), (message) => other.publish(message.reply ?? "", message.data.slice()));
    await other.flush();
    const values = Array.from({ length: 200 }, (_, i) => `${i}`);
    const answers = await Promise.all(values.map((value) => broker.request(core("echo"), bytes(value), LONG_MS)));
    expect(answers.map(text)).toEqual(values);
  });

  test("request() throws NoResponderError at once when nobody is subscribed", async () => {
    const { broker, core, world } = bench();
    const startMs = world.now();
    await expect(broker.request(core("nobody"), bytes("x"), LONG_MS)).rejects.toThrow(NoResponderError);
    expect(world.now() - startMs).toBeLessThan(LONG_MS / 10);
  });

  test("request() throws BrokerUnavailableError when nobody answers in time", async () => {
    const { broker, other, core, world } = bench();
    other.subscribe(core("mute"), () => undefined);
    await other.flush();
    const startMs = world.now();
    await expect(broker.request(core("mute"), bytes("x"), 200)).rejects.toThrow(BrokerUnavailableError);
    expect(world.now() - startMs).toBeGreaterThanOrEqual(190);
  });

  test("request() fails with BrokerUnavailableError when the connection is closed", async () => {
    const { broker, other, core } = bench();
    other.subscribe(core("mute"), () => undefined);
    await other.flush();
    const waiting = broker.request(core("mute"), bytes("x"), LONG_MS);
    waiting.catch(() => undefined); // it may fail before close() resolves
    await broker.close();
    await expect(waiting).rejects.toThrow(BrokerUnavailableError);
  });

  test("flush() resolves after all that was published before reached the server", async () => {
    const { broker, other, core, world } = bench();
    const seen: string[] = [];
    other.subscribe(core("a"), (message) => seen.push(text(message.data)));
    await other.flush();
    broker.publish(core("a"), bytes("1"));
    await broker.flush();
    other.publish(core("a"), bytes("2"));
    await world.until("both came", () => seen.length === 2);
    expect(seen).toEqual(["1", "2"]);
  });

  test("onStatus() tells every listener of a change until it unsubscribes", async () => {
    const { broker, world } = bench();
    const seen: BrokerStatus[] = [];
    const unheard: BrokerStatus[] = [];
    broker.onStatus((status) => seen.push(status));
    broker.onStatus((status) => unheard.push(status)).unsubscribe();
    await broker.close();
    await world.until("the change was told", () => seen.length > 0);
    expect([seen, unheard, broker.status]).toEqual([["closed"], [], "closed"]);
  });

  test("close() is idempotent", async () => {
    const { broker } = bench();
    await broker.close();
    await broker.close();
    expect(broker.publish("x", bytes("x"))).toBe(false);
  });
}
