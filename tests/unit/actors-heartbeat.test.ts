/** The body of a heartbeat is the device's to write. Invariant: reading it never throws: a throw there ends every node that follows. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { readHeartbeat } from "../../actors/heartbeat.ts";
import { makeNames } from "../../nats-config/subjects.ts";

const names = makeNames();
const heard = (body: string) =>
  readHeartbeat({ subject: "device.h.d.heartbeat", data: Buffer.from(body), header: () => undefined }, names);

test("readHeartbeat() leaves out capabilities that are nested deeper than a stack, and hears the device", () => {
  const depth = 100_000;
  const body = `{"model":"m","capabilities":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  expect(heard(body)).toEqual({ place: { host: "h", device: "d" }, facts: { model: "m" } });
});

test("readHeartbeat() hears the device whatever its body is", () => {
  fc.assert(
    fc.property(fc.oneof(fc.json({ maxDepth: 8 }), fc.string()), (body) => {
      expect(heard(body)?.place).toEqual({ host: "h", device: "d" });
    }),
  );
});

test.each([
  ["a name that is half a character", '{"model":"m","name":"\\ud800"}'],
  ["capabilities deeper than a state may be", `{"model":"m","capabilities":${"[".repeat(80)}${"]".repeat(80)}}`],
  ["a key that cannot be stored", '{"model":"m","capabilities":{"__proto__":1}}'],
])("readHeartbeat() gives facts that an actor can be told, without %s", (_what, body) => {
  expect(heard(body)?.facts).toEqual({ model: "m" });
});
