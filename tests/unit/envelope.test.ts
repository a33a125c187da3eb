/** Inputs and answers on the wire. Invariant: what is decoded has the right types, or is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encode } from "../../runtime/codec.ts";
import {
  ACCEPTED,
  decodeAnswer,
  decodeInput,
  encodeError,
  encodeInput,
  encodeValue,
  type Input,
  Tag,
} from "../../runtime/envelope.ts";
import { BusyError, CorruptRecordError, PayloadError, TroupeError } from "../../runtime/errors.ts";
import { MAX_CALL_CHAIN, MAX_MESSAGE_BYTES } from "../../runtime/limits.ts";

const input: Input = {
  tag: Tag.Ask,
  sender: "client-1",
  seq: 7,
  low: 3,
  ttlMs: 100,
  lane: 2,
  event: { type: "GO", n: 1 },
};
const fields = [1, Tag.Ask, "client-1", 7, 3, 100, 2, { type: "GO", n: 1 }] as const;

describe("decodeInput()", () => {
  test("brings a call chain back, and none for a message of a release that knew none", () => {
    const chain = [
      ["a/1", 3],
      ["b/2", 7],
    ] as const;
    expect(decodeInput(encodeInput({ ...input, chain }))).toEqual({ ...input, chain });
    expect(decodeInput(encode(fields))).toEqual(input);
    expect(encodeInput({ ...input, chain: [] }).equals(encode(fields))).toBe(true);
  });

  test.each([
    ["no list", "a/1"],
    ["a link without a revision", [["a/1"]]],
    ["a link without an actor", [[7, 3]]],
    ["more links than any call makes", Array.from({ length: MAX_CALL_CHAIN + 1 }, () => ["a/1", 1])],
  ])("refuses a chain that is %s", (_, chain) => {
    expect(() => decodeInput(encode([...fields, chain]))).toThrow(CorruptRecordError);
  });

  test("brings back what encodeInput() made", () => {
    const counts = fc.nat();
    // Refused, as the codec's own tests show.
    const hasNoProto = (value: unknown) => !JSON.stringify(value).includes('"__proto__"');
    const data = fc.jsonValue({ maxDepth: 3 }).filter(hasNoProto);
    const event = fc.record({ type: fc.string({ minLength: 1 }), data });
    const made = fc.record({
      tag: fc.constantFrom(0, 1, 2, 3),
      sender: fc.string({ minLength: 1 }),
      seq: counts,
      low: counts,
      ttlMs: counts,
      lane: fc.integer({ min: 0, max: 3 }),
      event,
    });
    fc.assert(
      fc.property(made, (each) => {
        expect(JSON.stringify(decodeInput(encodeInput(each as Input)))).toEqual(JSON.stringify(each));
      }),
    );
  });

  test.each([
    ["another version", 0, 2],
    ["an unknown tag", 1, 5],
    ["a broken tag", 1, "ask"],
    ["a sender that is no text", 2, 5],
    ["a negative number", 3, -1],
    ["a broken number", 3, 1.5],
    ["a low that is no number", 4, null],
    ["a deadline that is no number", 5, "1"],
    ["an unknown lane", 6, 4],
    ["an event that is no object", 7, "GO"],
    ["an event that is null", 7, null],
    ["an event without a type", 7, { a: 1 }],
    ["an event whose type is no text", 7, { type: 5 }],
    ["an event with an empty type", 7, { type: "" }],
    ["an event that is a list", 7, [1]],
    ["a sender that is too long", 2, "a".repeat(10_000)],
  ])("refuses %s", (_what, at, value) => {
    expect(() => decodeInput(encode(fields.with(at, value as never)))).toThrow(CorruptRecordError);
  });

  test("refuses an event that is larger than the bound", () => {
    const event = { type: "GO", text: "x".repeat(MAX_MESSAGE_BYTES + 10_000) };
    expect(() => decodeInput(encode(fields.with(7, event as never)))).toThrow(TroupeError);
  });

  test("throws only CorruptRecordError for random bytes and random values", () => {
    const random = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.array(fc.anything()).map((each) => encode(safe(each))),
    );
    fc.assert(
      fc.property(random, (bytes) => {
        expect(() => decodeInput(bytes)).toThrow(CorruptRecordError);
      }),
      { numRuns: 500 },
    );
  });
});

/** Only what the packer itself takes. */
const safe = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? 1 : item)) ?? "null");

describe("encodeInput()", () => {
  test("refuses no type, an empty one, and an event over the bound, naming the way out", () => {
    for (const type of [undefined, "", 5]) {
      expect(() => encodeInput({ ...input, event: { type } as never })).toThrow(/send an object such as/);
    }
    const large = { type: "GO", text: "x".repeat(MAX_MESSAGE_BYTES) };
    expect(() => encodeInput({ ...input, event: large })).toThrow(PayloadError);
    expect(() => encodeInput({ ...input, event: large })).toThrow(
      /"GO" takes about \d+ bytes.*store the data elsewhere/,
    );
  });
});

describe("decodeAnswer()", () => {
  test("gives the value, or rethrows the error as its class", () => {
    expect(decodeAnswer(encodeValue({ a: [1] }))).toEqual({ a: [1] });
    expect(decodeAnswer(ACCEPTED)).toBe(null);
    expect(() => decodeAnswer(encodeError(new BusyError("Full")))).toThrow(BusyError);
    for (const bytes of [encode(5), encode([2, 1]), Buffer.alloc(3)])
      expect(() => decodeAnswer(bytes)).toThrow(CorruptRecordError);
  });
});
