/**
 * `replay`: an actor's history run again, offline. Invariant: nothing is written; where stored and replayed state part is an exit
 * code, not a remark.
 */
import type { Command } from "commander";
import { resolve } from "node:path";
import type { ActorView, Client } from "../../runtime/api.ts";
import { sleep } from "../../runtime/clock.ts";
import type { ActorKind } from "../../runtime/define-actor.ts";
import { HistoryGapError } from "../../runtime/errors.ts";
import { readHistory } from "../../runtime/history.ts";
import { compareReplay, type Divergence, replayHistory, type ReplayStep, verifyReplay } from "../../runtime/replay.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { CliError, EXIT } from "./exit.ts";
import { pretty, stateText, table } from "./output.ts";
import { findKind, loadKind } from "./replay-kind.ts";

/** The history is written behind the live state; a snapshot and a checkpoint later it has caught up, in ms. */
const CATCH_UP_MS = 10_000;
const CATCH_UP_PAUSE_MS = 250;

interface ReplayOptions {
  readonly machine?: string;
  readonly steps?: boolean;
}

interface Run {
  /** `stored`: with what the nodes keep, bit for bit; `machine`: with the same inputs through another machine. */
  readonly comparedWith: "stored" | "machine";
  readonly same: boolean;
  readonly steps: readonly ReplayStep[];
  readonly partsAt: Divergence | null;
  /** The live state at the time. */
  readonly live: ActorView;
}

export function replayCommand(program: Command, deps: CliDeps): void {
  common(
    program.command("replay").description("run an actor's history again offline and compare; exit 1 if it differs"),
  )
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .option(
      "--machine <file>",
      "a module that exports a changed kind or machine: shows where it parts from the present one",
    )
    .option("--steps", "print every step")
    .action(async (kind: string, id: string, options: ReplayOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const changed =
        options.machine === undefined ? undefined : await loadKind(resolve(deps.cwd, options.machine), kind);
      const present = await findKind(kind);
      const subject = present ?? changed;
      if (subject === undefined) {
        throw new CliError(
          EXIT.notFound,
          `The kind "${kind}" is not one of the system's: give its module with --machine`,
        );
      }
      const run = await context.withClient(async (client) => {
        const live = await client.query(kind, id);
        if (present === undefined || changed === undefined) return await runAgainstStored(client, deps, subject, live);
        return await runAgainstMachine(client, present, changed, live);
      });
      const { steps, ...rest } = run;
      const report = {
        kind,
        id,
        inputs: steps.length,
        ...rest,
        state: steps.at(-1) ?? null,
        ...(options.steps === true ? { steps } : {}),
      };
      context.output.print(report, () => reportText(kind, id, run, options.steps === true));
      if (!run.same) throw new CliError(EXIT.failed, partingText(kind, id, run, options.machine));
    });
}

/** Compares with the stored state, once that has caught up with the live one, or as far as it reaches. */
async function runAgainstStored(client: Client, { clock }: CliDeps, kind: ActorKind, live: ActorView): Promise<Run> {
  const endMs = clock.monotonic() + CATCH_UP_MS;
  for (;;) {
    try {
      const { steps, isIdentical } = await verifyReplay(client.broker, client.names, client.shards, kind, live.id);
      const reached = steps.at(-1)?.revision ?? 0;
      if (!isIdentical || reached >= live.revision || clock.monotonic() > endMs) {
        return { comparedWith: "stored", same: isIdentical, steps, partsAt: null, live };
      }
    } catch (error) {
      // A young actor has no snapshot yet.
      if (!(error instanceof HistoryGapError) || clock.monotonic() > endMs) throw error;
    }
    await sleep(clock, CATCH_UP_PAUSE_MS);
  }
}

async function runAgainstMachine(
  client: Client,
  present: ActorKind,
  changed: ActorKind,
  live: ActorView,
): Promise<Run> {
  const address = { kind: live.kind, id: live.id };
  const inputs = await readHistory(client.broker, client.names, live.kind, live.id);
  const partsAt = compareReplay(present, changed, address, inputs);
  const { steps } = replayHistory(changed, address, inputs);
  return { comparedWith: "machine", same: partsAt === null, steps, partsAt, live };
}

function partingText(kind: string, id: string, { partsAt, steps }: Run, file: string | undefined): string {
  if (partsAt === null)
    return `${kind}/${id}: the replay of ${steps.length} inputs differs from the stored state: the code is not what made it, or not deterministic`;
  return `${kind}/${id} parts at input ${partsAt.revision} (${partsAt.event.type}) with the machine of ${file ?? "this program"}: see both states above`;
}

function reportText(kind: string, id: string, run: Run, withSteps: boolean): string {
  const { steps, partsAt, live } = run;
  const lines = withSteps
    ? table(
        ["REVISION", "EVENT", "STATE", "STATUS"],
        steps.map((step) => [step.revision, step.event.type, stateText(step.value), step.poison ?? step.status]),
      )
    : "";
  if (partsAt !== null) {
    const side = ({ value, context, poison }: Divergence["before"]): string => pretty({ value, context, poison });
    return `${lines}input ${partsAt.revision}: ${pretty(partsAt.event)}\npresent machine\n${side(partsAt.before)}\nchanged machine\n${side(partsAt.after)}`;
  }
  const last = steps.at(-1);
  if (!run.same)
    return `${lines}live\n${pretty({ value: live.value, context: live.context })}\nreplayed\n${pretty({ value: last?.value, context: last?.context })}`;
  const behind =
    (last?.revision ?? 0) < live.revision
      ? ` (the live state is at ${live.revision}: its last inputs are not in the history yet)`
      : "";
  return `${lines}${kind}/${id}: ${steps.length} inputs replayed, ${run.comparedWith === "stored" ? "bit for bit the stored state" : "no difference"}${behind}`;
}
