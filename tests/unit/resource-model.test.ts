/** A lock against a reference, through thousands of random interleavings; planted faults show that the test can fail. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRIORITIES, type Priority, priorityRank } from "../../runtime/priority.ts";
import type { Rank } from "../support/lock-model.ts";
import { LockWorld, type Plant, type WorldOptions } from "../support/lock-world.ts";

const TTL_MAX_MS = 5_000;
const who = fc.constantFrom("task/a", "task/b", "task/c", "task/d", "client/eve", "client/ops");
/** Mostly the own token, sometimes one that is over or was never issued. */
const slip = fc.constantFrom(0, 0, 0, 0, -1, 1);
const priority = fc.constantFrom<Priority>(...PRIORITIES);
const ttlMs = fc.integer({ min: 100, max: TTL_MAX_MS });
/** Also beyond what one rank is worth. */
const ms = fc.oneof(fc.integer({ min: 0, max: 4_000 }), fc.constantFrom(0, 600_000, 1_300_000));

interface Model {
  readonly world: LockWorld;
}

class Step implements fc.Command<Model, LockWorld> {
  readonly #name: string;
  readonly #run: (world: LockWorld) => void;
  constructor(name: string, run: (world: LockWorld) => void) {
    this.#name = name;
    this.#run = run;
  }
  check = (): boolean => true;
  run(_: Model, world: LockWorld): void {
    this.#run(world);
    world.audit();
  }
  toString = (): string => this.#name;
}

const stepOf = <T>(name: string, args: fc.Arbitrary<T>, run: (world: LockWorld, args: T) => void) =>
  args.map((given) => new Step(`${name} ${JSON.stringify(given)}`, (world) => run(world, given)));

const tokenOf = (world: LockWorld, name: string, off: number): number => (world.tokens.get(name) ?? 0) + off;

const acquire = stepOf("acquire", fc.record({ who, priority, ttlMs }), (world, given) => {
  world.send({ type: "acquire", priority: given.priority, ttlMs: given.ttlMs }, given.who);
  world.reference.acquire(given.who, priorityRank(given.priority) as Rank, given.ttlMs);
});
const withToken = (type: "release" | "renew" | "yield") =>
  stepOf(type, fc.record({ who, slip }), (world, given) => {
    const token = tokenOf(world, given.who, given.slip);
    world.send({ type, token }, given.who);
    world.reference[type](given.who, token);
  });

const steps = [
  acquire,
  acquire,
  withToken("release"),
  withToken("renew"),
  withToken("yield"),
  stepOf("stopped", fc.record({ who, slip }), (world, given) => {
    const token = tokenOf(world, given.who, given.slip);
    world.send({ type: "stopped", token }, given.who);
    world.reference.stopped(given.who, token);
  }),
  stepOf("cancel", who, (world, name) => {
    const isThere = world.reference.line.includes(name) || world.reference.holding?.who === name;
    world.send({ type: "cancel" }, name);
    if (isThere || world.reference.stopping?.to.who === name) world.reference.cancel(name);
  }),
  stepOf("bump", who, (world, name) => {
    world.send({ type: "bump", waiter: name, by: "client/ops", why: "a demo" }, "client/ops");
    if (world.reference.line.includes(name)) world.reference.bump(name);
  }),
  stepOf("takeover", ttlMs, (world, given) => {
    world.send({ type: "takeover", by: "client/ops", why: "a fire", ttlMs: given }, "client/ops");
    world.reference.takeover("client/ops", given);
  }),
  stepOf("maintain", fc.boolean(), (world, on) => {
    world.send({ type: "maintain", on, by: "client/ops", why: "new cables" }, "client/ops");
    world.reference.maintain(on);
  }),
  // A crash is silence: time passes and nobody renews.
  stepOf("advance", ms, (world, given) => world.advance(given)),
  stepOf("drive", who, (world, name) => world.drive(name)),
  stepOf("drive", who, (world, name) => world.drive(name)),
  stepOf("showLease", fc.constant(null), (world) => world.showLease()),
];

function check(plant: Plant, numRuns: number, asActor = false): void {
  const options: fc.Arbitrary<WorldOptions> = fc.record({
    policy: fc.constantFrom("wait" as const, "abort" as const, "takeover" as const),
    graceMs: fc.integer({ min: 0, max: 3_000 }),
    plant: fc.constant(plant),
    asActor: fc.constant(asActor),
  });
  const property = fc.property(options, fc.commands(steps, { maxCommands: 80, size: "max" }), (given, commands) => {
    const world = new LockWorld(given);
    fc.modelRun(() => ({ model: { world }, real: world }), commands);
    world.drain(2 * TTL_MAX_MS);
  });
  fc.assert(property, { numRuns, seed: 4, includeErrorInReport: true, endOnFailure: plant !== "none" });
}

/** As long as 2,000 runs take on a loaded machine, five times over, in ms. */
const TIMEOUT_MS = 120_000;

describe("a lock", { timeout: TIMEOUT_MS }, () => {
  test("agrees with the reference and never lets two drive, whatever comes in whatever order", () => {
    check("none", 2_000);
  });

  test("agrees with it as an actor too, whose state is stored between any two inputs", () => {
    check("none", 150, true);
  });

  test.each<[Plant, RegExp]>([
    ["door takes any token", /older than one that drove|nothing drives without a lease/],
    ["grant before revoke", /while no other grant lasts/],
    ["token issued again", /./],
  ])("would be caught if planted: %s", (plant, message) => {
    expect(() => check(plant, 300)).toThrow(message);
  });
});
