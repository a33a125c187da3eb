/** A node that cannot store what it takes. Invariant: it takes no more until it can, says why, and goes on by itself. */
import { expect, test } from "vitest";
import { setup } from "xstate";
import { defineActor } from "../../runtime/define-actor.ts";
import { decodeAnswer, encodeInput, Tag } from "../../runtime/envelope.ts";
import { BrokerUnavailableError, BusyError, StreamFullError } from "../../runtime/errors.ts";
import { MAILBOX_LIMIT, MAX_NODE_UNCOVERED_BYTES, RETRY_MAX_MS } from "../../runtime/limits.ts";
import { refusalOf } from "../../runtime/refusal.ts";
import { settlePromises } from "../../runtime/testkit/sim-clock.ts";
import { startEngine } from "../support/engine.ts";

const machine = setup({ types: { events: {} as { type: "GO" } } }).createMachine({ on: { GO: {} } });

function start() {
  const bench = startEngine([defineActor({ kind: "actor", machine })], 1);
  const { engine, broker } = bench;
  let seq = 0;
  const append = broker.append.bind(broker);
  return {
    ...bench,
    /** What came back: `taken`, the code of an error, or undefined. */
    go: async (id: string) => {
      let answered: string | undefined;
      const body = encodeInput({
        tag: Tag.Tell,
        sender: "t",
        seq: ++seq,
        low: 1,
        ttlMs: 0,
        lane: 2,
        event: { type: "GO" },
      });
      engine.receive("actor", id, body, (answer) => {
        try {
          decodeAnswer(answer);
          answered = "taken";
        } catch (error) {
          answered = (error as { code: string }).code;
        }
      });
      await settlePromises();
      return {
        get answered() {
          return answered;
        },
      };
    },
    /** Appends fail with `error` from now on; undefined: they are stored again. */
    failAppends: (error: Error | undefined) => {
      broker.append = error === undefined ? append : () => Promise.reject(error);
    },
  };
}

test.each([
  [new StreamFullError("maximum bytes exceeded"), "STREAM_FULL", StreamFullError],
  [new BrokerUnavailableError("no answer"), "BUSY", BusyError],
])("receive() refuses at once what would wait behind an append that ends with %s", async (error, code, refusal) => {
  const { engine, go, failAppends, clock } = start();
  expect((await go("a")).answered).toBe("taken");
  failAppends(error);
  const first = await go("a");
  expect(first.answered).toBeUndefined();
  expect((await go("b")).answered).toBe(code);
  expect(refusalOf(engine)).toBeInstanceOf(refusal);
  failAppends(undefined);
  await clock.advanceAsync(2 * RETRY_MAX_MS);
  expect(first.answered).toBe("taken");
  expect(refusalOf(engine)).toBeUndefined();
  expect((await go("b")).answered).toBe("taken");
});

test("receive() refuses every actor's messages at the node's bound of uncovered bytes, until snapshots have caught up", async () => {
  const { engine, go, failAppends, clock } = start();
  expect((await go("a")).answered).toBe("taken");
  const activation = engine.activations.get("actor/a");
  if (activation === undefined) throw new Error("The actor is not in memory");
  engine.saver.onInput(activation, MAX_NODE_UNCOVERED_BYTES - activation.uncovered.bytes, false);
  expect((await go("b")).answered).toBe("BUSY");
  failAppends(new StreamFullError("maximum bytes exceeded"));
  engine.saver.sweep();
  await settlePromises();
  expect((await go("b")).answered).toBe("BUSY");
  failAppends(undefined);
  engine.saver.sweep(); // at any age of the actor
  await clock.advanceAsync(1);
  expect((await go("b")).answered).toBe("taken");
});

test("receive() refuses what an actor's full mailbox cannot hold, while others are served", async () => {
  const { broker, go } = start();
  const gate = Promise.withResolvers<void>();
  const getLast = broker.getLast.bind(broker);
  broker.getLast = async (stream, subject) => {
    if (subject.endsWith(".slow")) await gate.promise; // its state is long in coming
    return await getLast(stream, subject);
  };
  const waiting = [];
  for (let i = 0; i < MAILBOX_LIMIT; i++) waiting.push(await go("slow"));
  expect((await go("slow")).answered).toBe("BUSY");
  expect((await go("other")).answered).toBe("taken");
  gate.resolve();
  await settlePromises();
  expect(waiting.map(({ answered }) => answered)).toEqual(waiting.map(() => "taken"));
});
