import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resolveTemplates } from "../../actors/template.ts";

const scope = {
  event: { type: "alert.freeze", data: { channel: "RTS 1", count: 3, list: ["a", "b"], nothing: null, on: true } },
  steps: { shot: { status: "succeeded", output: { ref: "frames/1.jpg" } } },
};

describe("resolveTemplates()", () => {
  test.each([
    ["${event.data.channel}", "RTS 1"],
    ["${ event.data.count }", 3],
    ["${event.data.list}", ["a", "b"]],
    ["${event.data.list.1}", "b"],
    ["${event.data.nothing}", null],
    ["on ${event.data.channel}: ${event.data.count} times, ${event.data.on}", "on RTS 1: 3 times, true"],
    ["${steps.shot.output.ref}", "frames/1.jpg"],
    ["costs $5 {plain} $${event}", "costs $5 {plain} ${event}"],
    ["", ""],
    [7, 7],
    [null, null],
    [{ a: ["${event.type}", { b: "${event.data.count}" }] }, { a: ["alert.freeze", { b: 3 }] }],
  ])("fills %j as %j", (value, filled) => {
    expect(resolveTemplates(value, scope)).toEqual({ ok: true, value: filled });
  });

  test.each([
    [
      "${event.data.chanel}",
      '"${event.data.chanel}" leads nowhere at "chanel": known are channel, count, list, nothing, on',
    ],
    ["${event.data.nothing.x}", '"${event.data.nothing.x}" leads nowhere at "x": there stands null'],
    ["${}", '"${}" leads nowhere at "": known are event, steps'],
    [
      "see ${event.data.list}",
      '"${event.data.list}" is a list and cannot stand inside a text: make it the whole value, or name a field of it',
    ],
    ["${event.constructor}", '"${event.constructor}" leads nowhere at "constructor": known are type, data'],
    ["${event.__proto__}", '"${event.__proto__}" leads nowhere at "__proto__": known are type, data'],
    ["${event.type.length}", '"${event.type.length}" leads nowhere at "length": there stands a string'],
  ])("refuses %s and says where it leads nowhere", (value, error) => {
    expect(resolveTemplates({ x: value }, scope)).toEqual({ ok: false, error });
  });

  test("refuses arguments nested too deep, and texts that grow too long", () => {
    let deep: unknown = "x";
    for (let i = 0; i < 40; i++) deep = [deep];
    expect(resolveTemplates(deep, scope)).toMatchObject({ ok: false });
    expect(resolveTemplates("${long}!", { long: "x".repeat(40_000) })).toMatchObject({ ok: false });
  });

  test("leaves values without templates as they are, and never throws, whatever they are", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const plain = !JSON.stringify(value).includes("${");
        const result = resolveTemplates(value, scope);
        if (plain) expect(JSON.stringify(result)).toBe(JSON.stringify({ ok: true, value }));
        else expect(typeof result.ok).toBe("boolean");
      }),
    );
  });

  test("fills any path that leads to a value with that value", () => {
    const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,8}$/);
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 6 }), fc.jsonValue(), (path, value) => {
        const inner = path.reduceRight<unknown>((rest, key) => Object.fromEntries([[key, rest]]), value);
        expect(resolveTemplates(`\${${path.join(".")}}`, inner as Record<string, unknown>)).toEqual({
          ok: true,
          value,
        });
      }),
    );
  });
});
