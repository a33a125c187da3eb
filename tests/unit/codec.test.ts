/** Bytes. Invariant: what sizeOf() takes comes back equal, never larger than it said; what cannot be stored is named by its path. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decode, encode, sizeOf } from "../../runtime/codec.ts";
import { CorruptRecordError, PayloadError } from "../../runtime/errors.ts";
import { MAX_DEPTH } from "../../runtime/limits.ts";

const bytes = fc.uint8Array({ maxLength: 40 });
const text = fc.oneof(fc.string({ maxLength: 60 }), fc.string({ unit: "grapheme", maxLength: 60 }));
const date = fc.date({ noInvalidDate: true, min: new Date("1900-01-01"), max: new Date("2200-01-01") });
const leaf = fc.oneof(
  text,
  fc.double({ noNaN: true }).map((value) => (Object.is(value, -0) ? 0 : value)),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.boolean(),
  fc.constantFrom(null, undefined, Number.NaN, Number.POSITIVE_INFINITY),
  date,
  bytes,
);
const key = text.filter((name) => name !== "__proto__");
const { plain } = fc.letrec((tie) => ({
  plain: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("plain"), { maxLength: 6 }),
    fc.dictionary(key, tie("plain"), { maxKeys: 6, noNullPrototype: true }),
  ),
}));

/** Bytes come back as Buffers: their content is what counts. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: [...value] };
  if (Array.isArray(value)) return value.map(comparable);
  if (value === null || typeof value !== "object" || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, comparable(item)]));
}

const cyclic: Record<string, unknown> = { name: "loop" };
cyclic["self"] = { again: cyclic };

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = { a: value };
  return value;
}

class Point {
  x = 1;
}

describe("sizeOf()", () => {
  test("is never below the encoded size, and what it takes comes back equal", () => {
    fc.assert(
      fc.property(plain, (value) => {
        const size = sizeOf(value, "It");
        const stored = encode(value);
        expect(comparable(decode(stored))).toEqual(comparable(value));
        expect(encode(decode(stored)).equals(stored)).toBe(true);
        expect(size).toBeGreaterThanOrEqual(stored.length);
      }),
      { numRuns: 1_000 },
    );
  });

  test("is not below the encoded size for keys that are not ASCII", () => {
    const value = { ["鍵".repeat(100)]: 1 };
    expect(sizeOf(value, "It")).toBeGreaterThanOrEqual(encode(value).length);
  });

  test.each([
    ["a Map", { a: { b: new Map() } }, "The event.a.b is a Map"],
    ["a Set", { a: [1, new Set()] }, "The event.a[1] is a Set"],
    ["a class instance", { at: new Point() }, "The event.at is a Point"],
    ["a function", { a: [{ f: () => 1 }] }, "The event.a[0].f is a function"],
    ["a symbol", { s: Symbol("s") }, "The event.s is a symbol"],
    ["a bigint", { big: 1n }, "The event.big is a bigint"],
    ["a cycle", cyclic, "The event.self.again.self"],
    ["an Error", { e: new TypeError("x") }, "The event.e is a TypeError"],
    ["a promise", { p: Promise.resolve(1) }, "The event.p is a Promise"],
    ["a RegExp", { r: /x/ }, "The event.r is a RegExp"],
    ["another typed array", { t: new Float64Array(1) }, "The event.t is a Float64Array"],
    ["a Date that is none", { d: new Date(Number.NaN) }, "The event.d"],
    ["a bare function", () => 1, "The event is a function"],
    ["too deep a value", nested(MAX_DEPTH + 1), "The event.a.a"],
  ])("refuses %s by its path", (_what, value, path) => {
    expect(() => sizeOf(value, "The event")).toThrow(PayloadError);
    expect(() => sizeOf(value, "The event")).toThrow(path);
  });

  test("takes what is just deep enough, a null prototype, and the same object twice", () => {
    expect(sizeOf(nested(MAX_DEPTH), "It")).toBeGreaterThan(0);
    expect(sizeOf(Object.assign(Object.create(null) as object, { a: 1 }), "It")).toBeGreaterThan(0);
    const shared = { a: 1 };
    expect(decode(encode([shared, shared]))).toEqual([{ a: 1 }, { a: 1 }]);
    expect(sizeOf([shared, shared], "It")).toBeGreaterThan(0);
  });

  test.each([
    ["a key __proto__", JSON.parse('{"__proto__": {"a": 1}}') as object],
    ["text with half a surrogate pair", { s: "\ud800" }],
  ])("refuses, or brings back equal, %s", (_what, value) => {
    let size = -1;
    try {
      size = sizeOf(value, "It");
    } catch (error) {
      expect(error).toBeInstanceOf(PayloadError);
    }
    if (size >= 0) expect(Object.entries(decode(encode(value)) as object)).toEqual(Object.entries(value));
  });
});

describe("decode()", () => {
  test("throws only CorruptRecordError for random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
        try {
          decode(random);
        } catch (error) {
          expect(error).toBeInstanceOf(CorruptRecordError);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("refuses a nesting that would end the stack, and more than one value", () => {
    expect(() => decode(Buffer.alloc(200_000, 0x91))).toThrow(CorruptRecordError);
    expect(() => decode(Buffer.concat([encode(1), encode(2)]))).toThrow(CorruptRecordError);
    expect(() => decode(Buffer.alloc(0))).toThrow(CorruptRecordError);
  });
});
