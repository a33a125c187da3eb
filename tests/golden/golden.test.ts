/** Records of past releases. Invariant: what a release has written, every later one reads and replays to the same state. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { streamSpecs } from "../../nats-config/streams.ts";
import { makeNames } from "../../nats-config/subjects.ts";
import { Activation } from "../../runtime/activation.ts";
import { decodeState, encodeCore, newState } from "../../runtime/actor-state.ts";
import { keyOf } from "../../runtime/address.ts";
import { applyPoison, replayInput } from "../../runtime/apply.ts";
import { decodeInput, Tag } from "../../runtime/envelope.ts";
import { readHistory } from "../../runtime/history.ts";
import { createMemoryWorld } from "../../runtime/port-memory.ts";
import { replayHistory } from "../../runtime/replay.ts";
import { decodeRecord } from "../../runtime/round.ts";
import { runnable } from "../../runtime/runnable.ts";
import { decodeSnapshot } from "../../runtime/snapshots.ts";
import { SimClock } from "../../runtime/testkit/sim-clock.ts";
import { GOLDEN_ADDRESS, golden } from "./machine.ts";

const HERE = new URL("./", import.meta.url);
const RELEASES = readdirSync(HERE).filter((name) => /^v\d+\.\d+\.\d+$/.test(name));
const KEY = keyOf(GOLDEN_ADDRESS.kind, GOLDEN_ADDRESS.id);
const kind = runnable(golden);

function readRelease(release: string) {
  const folder = new URL(`${release}/`, HERE);
  const files = readdirSync(folder).sort();
  const records = (name: string) =>
    files.filter((file) => file.startsWith(`${name}-`)).map((file) => readFileSync(new URL(file, folder)));
  return {
    journal: records("journal"),
    history: records("history"),
    snapshot: records("snapshot")[0] as Buffer,
    expected: JSON.parse(readFileSync(new URL("expected.json", folder), "utf8")) as Record<string, unknown>,
  };
}

/** As JSON shows it: dates and bytes are compared by their text. */
const shown = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test("the records of the first release are there", () => {
  expect(RELEASES).toContain("v0.1.0");
});

describe.each(RELEASES)("what %s wrote", (release) => {
  const { journal, history, snapshot, expected } = readRelease(release);
  const { core, outbox } = decodeSnapshot(snapshot);

  test("decodeState() restores the snapshot and writes the same bytes", () => {
    const state = decodeState(core, outbox, kind, kind.runner);
    const activation = new Activation(GOLDEN_ADDRESS, 0, kind);
    activation.begin(state, null);
    const { status, value, context, revision } = activation.view("n1");
    expect(shown({ status, value, context, revision })).toEqual(expected);
    expect(encodeCore(state, kind.version, kind.runner).equals(core)).toBe(true);
    expect([...state.timers.keys()]).toContain("far");
    expect([...state.invocations.keys()]).toEqual(["never"]);
  });

  test("decodeRecord() reads the journal, and its inputs give the snapshot bit for bit", () => {
    const state = newState();
    const tags = new Set<Tag>();
    for (const bytes of journal) {
      const record = decodeRecord(bytes);
      if (record.type !== "round") continue;
      for (const [timeMs, key, body, poison] of record.inputs) {
        if (key !== KEY) continue;
        const input = decodeInput(body);
        tags.add(input.tag);
        if (poison === null) replayInput(kind, GOLDEN_ADDRESS, state, input, timeMs);
        else applyPoison(kind, GOLDEN_ADDRESS, state, input, timeMs, poison);
      }
    }
    expect([...tags].sort((a, b) => a - b)).toEqual([Tag.Ask, Tag.TimerFired, Tag.InvocationSettled]);
    expect(encodeCore(state, kind.version, kind.runner).equals(core)).toBe(true);
  });

  test("readHistory() reads the chunks, and replayHistory() gives the snapshot bit for bit", async () => {
    const names = makeNames();
    const broker = createMemoryWorld({ clock: new SimClock(), specs: streamSpecs(names) }).connect("n1");
    const subject = names.history(GOLDEN_ADDRESS.kind, GOLDEN_ADDRESS.id);
    for (const chunk of history) await broker.append(subject, chunk);
    const inputs = await readHistory(broker, names, GOLDEN_ADDRESS.kind, GOLDEN_ADDRESS.id);
    expect(inputs.length).toBe(expected["revision"]);
    const replay = replayHistory(golden, GOLDEN_ADDRESS, inputs);
    expect(Buffer.from(replay.core).equals(core)).toBe(true);
    expect(replay.steps.filter(({ poison }) => poison !== undefined).map(({ poison }) => poison)).toEqual([
      "TypeError: As wanted",
    ]);
  });
});
