/** Answers that share a message. */
import { describe, expect, test } from "vitest";
import { Answers, BATCHABLE, takeApart } from "../../runtime/answers.ts";
import { encode } from "../../runtime/codec.ts";
import { CorruptRecordError } from "../../runtime/errors.ts";

const INBOX = "_INBOX.abc.";
const bytes = (text: string): Uint8Array => Buffer.from(text);

function sender() {
  const sent: [string, Uint8Array][] = [];
  return { sent, answers: new Answers((subject, data) => sent.push([subject, data])) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("Answers", () => {
  test("add() sends the answers of one turn to a caller as one batch, in order", async () => {
    const { sent, answers } = sender();
    for (const call of ["1", "2", "3"]) answers.add(`${INBOX}${BATCHABLE}${call}`, bytes(call));
    expect(sent).toEqual([]);
    await turn();
    expect(sent.map(([subject]) => subject)).toEqual([INBOX + BATCHABLE]);
    const taken: [string, string][] = [];
    takeApart(sent[0]?.[1] as Uint8Array, (call, data) => taken.push([call, Buffer.from(data).toString()]));
    expect(taken).toEqual([
      [`${BATCHABLE}1`, "1"],
      [`${BATCHABLE}2`, "2"],
      [`${BATCHABLE}3`, "3"],
    ]);
  });

  test("add() sends a single answer plainly, and several callers their own", async () => {
    const { sent, answers } = sender();
    answers.add(`${INBOX}${BATCHABLE}1`, bytes("a"));
    answers.add(`_INBOX.other.${BATCHABLE}1`, bytes("b"));
    await turn();
    expect(sent).toEqual([
      [`${INBOX}${BATCHABLE}1`, bytes("a")],
      [`_INBOX.other.${BATCHABLE}1`, bytes("b")],
    ]);
  });

  test("add() sends at once what a caller without the mark asked, and what is large", () => {
    const { sent, answers } = sender();
    answers.add("_INBOX.abc.def", bytes("plain"));
    answers.add(`${INBOX}${BATCHABLE}1`, Buffer.alloc(70_000));
    expect(sent.map(([subject]) => subject)).toEqual(["_INBOX.abc.def", `${INBOX}${BATCHABLE}1`]);
  });

  test("add() sends a batch before it grows past its bound", async () => {
    const { sent, answers } = sender();
    for (let call = 0; call < 10; call++) answers.add(`${INBOX}${BATCHABLE}${call}`, Buffer.alloc(20_000));
    await turn();
    const sizes: number[] = [];
    for (const [subject, data] of sent) {
      if (subject === INBOX + BATCHABLE) takeApart(data, (_, answer) => sizes.push(answer.length));
      else sizes.push(data.length);
      expect(data.length).toBeLessThan(100_000);
    }
    expect(sizes).toHaveLength(10);
  });
});

test.each([1, null, ["$1"], [1, bytes("a")], ["$1", "text"], ["$1", bytes("a"), "$2"]])(
  "takeApart() refuses %j as a whole",
  (value) => {
    const taken: string[] = [];
    expect(() => takeApart(encode(value), (call) => taken.push(call))).toThrow(CorruptRecordError);
    expect(taken).toEqual([]);
  },
);
