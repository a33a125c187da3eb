/** The journal on the in-memory broker. Invariant: a round is committed once or the journal is sealed, whatever answer is lost. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { SealedError } from "../../runtime/errors.ts";
import { Journal, sealJournal } from "../../runtime/journal.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { decodeRecord, Round } from "../../runtime/round.ts";
import { settlePromises, SimClock } from "../../runtime/testkit/sim-clock.ts";

const names = makeNames({ namespace: "j" });
const SUBJECT = names.journal("n1", "abc");
const STREAM = names.stream.journal;

function makeWorld() {
  const clock = new SimClock({ seed: 3 });
  const world = createMemoryWorld({ clock, specs: streamSpecs(names) });
  const broker = world.connect("n1");
  const closing = new AbortController();
  const journal = new Journal({ broker, clock, stream: STREAM, subject: SUBJECT, closed: closing.signal });
  let no = 0;
  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    let open = true;
    promise.then(
      () => (open = false),
      () => (open = false),
    );
    for (await settlePromises(); open; await settlePromises()) await clock.advanceAsync(clock.nextInMs() ?? 1);
    return await promise;
  };
  return {
    world,
    broker,
    journal,
    closing,
    settle,
    append: () => {
      const round = new Round(++no);
      round.inputs.push([0, "k/a", Buffer.from([no]), null]);
      return settle(journal.append(round));
    },
    seal: () => settle(sealJournal(world.connect("n2"), STREAM, SUBJECT, "n2.x")),
    records: () => world.messages(STREAM).map(({ data }) => decodeRecord(data)),
  };
}

const rounds = (world: ReturnType<typeof makeWorld>) =>
  world.records().map((record) => (record.type === "round" ? record.no : record.type));

describe("Journal", () => {
  test("append() resolves with the place of each round, in order", async () => {
    const world = makeWorld();
    expect([await world.append(), await world.append()]).toEqual([1, 2]);
    expect(world.journal.last).toBe(2);
    expect(rounds(world)).toEqual([1, 2]);
  });

  test("append() recognises its own round when only the acknowledgement was lost", async () => {
    const world = makeWorld();
    await world.append();
    world.broker.failAppends("ack");
    expect(await world.append()).toBe(2);
    expect(rounds(world)).toEqual([1, 2]);
    expect(await world.append()).toBe(3);
  });

  test("append() repeats a round that never arrived", async () => {
    const world = makeWorld();
    world.broker.failAppends("request", 3);
    expect(await world.append()).toBe(1);
    expect(rounds(world)).toEqual([1]);
  });

  test("append() throws SealedError once sealed, and stores nothing after the seal", async () => {
    const world = makeWorld();
    await world.append();
    expect(await world.seal()).toBe(2);
    await expect(world.append()).rejects.toThrow(SealedError);
    await expect(world.append()).rejects.toThrow('sealed by "n2.x"');
    expect(rounds(world)).toEqual([1, "seal"]);
    expect(await world.seal()).toBe(2); // idempotent
  });

  test("append() throws SealedError when the seal came while the first round was under way", async () => {
    const world = makeWorld();
    expect(await world.seal()).toBe(1);
    await expect(world.append()).rejects.toThrow(SealedError);
    expect(rounds(world)).toEqual(["seal"]);
  });

  test("append() throws SealedError when the acknowledgement was lost and the seal followed: the caller learns from the new owner", async () => {
    const world = makeWorld();
    await world.append();
    world.broker.failAppends("ack");
    const appended = world.append();
    const failure = appended.catch((error: unknown) => error);
    await world.seal();
    expect(await failure).toBeInstanceOf(SealedError);
    expect(rounds(world)).toEqual([1, 2, "seal"]);
  });

  test("append() throws SealedError when another process writes under the same name", async () => {
    const world = makeWorld();
    await world.append();
    await world.settle(world.world.connect("twin").append(SUBJECT, new Round(9).encode()));
    await expect(world.append()).rejects.toThrow("is the node name used twice?");
  });

  test("append() ends when the node closes during an outage", async () => {
    const world = makeWorld();
    world.broker.partition();
    const appended = world.append();
    const failure = appended.catch((error: unknown) => error);
    world.closing.abort();
    expect(await failure).toBeInstanceOf(SealedError);
  });

  test("what append() resolved stands before the seal, each once, whatever is lost (property)", async () => {
    const step = fc.constantFrom("append" as const, "ack" as const, "request" as const, "seal" as const);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (script) => {
        const world = makeWorld();
        const resolved: number[] = [];
        let no = 0;
        for (const each of script) {
          if (each === "seal") await world.seal();
          else if (each !== "append") world.broker.failAppends(each);
          else {
            no++;
            const known = no;
            await world.append().then(
              () => resolved.push(known),
              (error: unknown) => expect(error).toBeInstanceOf(SealedError),
            );
          }
        }
        const stored = rounds(world);
        const sealAt = stored.indexOf("seal");
        const before = sealAt < 0 ? stored : stored.slice(0, sealAt);
        expect(stored.slice(before.length)).toEqual(sealAt < 0 ? [] : ["seal"]);
        expect(before).toEqual(resolved);
      }),
      { numRuns: 60 },
    );
  });
});
