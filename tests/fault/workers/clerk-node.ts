/** One node process with the cluster's one clerk, who acts all the time. Invariant: each act tells the token under which it is done. */
import { fromPromise, setup } from "xstate";
import { sleep, systemClock } from "../../../runtime/clock.ts";
import { defineActor } from "../../../runtime/define-actor.ts";
import { fencingToken } from "../../../runtime/invocation-scope.ts";
import { runNode } from "../support/run-node.ts";

/** Pause between two acts of the clerk, in ms. */
const ACT_EVERY_MS = 20;

const clerk = defineActor({
  kind: "clerk",
  singleton: true,
  machine: setup({
    actors: {
      act: fromPromise(async ({ signal }) => {
        for (;;) {
          process.stdout.write(`${JSON.stringify({ token: fencingToken(), pid: process.pid })}\n`);
          await sleep(systemClock, ACT_EVERY_MS, signal);
        }
      }),
    },
  }).createMachine({ initial: "acting", states: { acting: { invoke: { src: "act", id: "act" } } } }),
});

await runNode([clerk]);
