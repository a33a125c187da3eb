/** The auditor finds every planted bug. Invariant: an auditor that sees nothing cannot pass for a cluster that breaks nothing. */
import { expect, test } from "vitest";
import { runHistory } from "./history.ts";
import { PLANTS } from "./planted.ts";

/** Seeds within which a bug must be found: far fewer than a run has. */
const SEEDS = 1_000;
/** For those that need two faults to meet, in ms. */
const TIMEOUT_MS = 120_000;

/** By which laws: a bug that shows as something else shows that a law is not judged. */
const LAWS: Readonly<Record<keyof typeof PLANTS, RegExp>> = {
  "reply-before-commit": /^(an answer follows the commit|nothing is seen before it is committed):/,
  "append-without-fence": /^a journal never grows after its seal:/,
  "checkpoint-ahead": /^a snapshot is never behind a checkpoint:/,
  "snapshot-of-uncommitted": /^(a snapshot holds committed state only|a history holds what was committed):/,
  "takeover-without-seal": /^a shard is taken behind a seal:/,
  "without-dedupe": /^(applied once and in journal order|messages of a pair arrive once and in order):/,
  "query-of-uncommitted": /^(nothing is seen before it is committed|an answer follows the commit):/,
  "query-without-lease": /^a query sees what was acknowledged:/,
  "shadows-without-the-rest":
    /^(a query sees what was acknowledged|applied once and in journal order|a snapshot is never behind a checkpoint):/,
};

test.each(Object.entries(PLANTS))(
  "the auditor finds %s",
  async (name, plant) => {
    let breach: string | undefined;
    for (let seed = 1; seed <= SEEDS && breach === undefined; seed++)
      breach = (await runHistory(seed, { plant })).breaches[0];
    expect(breach).toMatch(LAWS[name] ?? /^$/);
  },
  TIMEOUT_MS,
);

test("the runtime is whole again after a history with a planted bug", async () => {
  for (const plant of Object.values(PLANTS)) await runHistory(1, { plant });
  expect((await runHistory(1)).breaches).toEqual([]);
});
