/**
 * `replay`: an actor's history run again, offline. Invariant: nothing is written; where live and replayed state part is an exit
 * code, not a remark.
 */
import { type Command } from "commander";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { AnyStateMachine } from "xstate";
import type { ActorView, Client, HistoryEntry } from "../../runtime/api.ts";
import { sleep } from "../../runtime/clock.ts";
import { type ActorKind, defineActor } from "../../runtime/define-actor.ts";
import { isObject } from "../json.ts";
import { type CliDeps, CommandContext, common } from "./context.ts";
import { CliError, EXIT, messageOf } from "./exit.ts";
import { pretty, stateText, table } from "./output.ts";
import { comparable, type ReplayedStep, replayWith } from "./replay-run.ts";

/** The history is written behind the live state: it catches up within a snapshot's and a checkpoint's age, in ms. */
const CATCH_UP_MS = 10_000;
const CATCH_UP_PAUSE_MS = 250;

interface ReplayOptions {
  readonly machine?: string;
  readonly steps?: boolean;
}

interface ReplayReport {
  readonly kind: string;
  readonly id: string;
  readonly machine: string;
  readonly inputs: number;
  /** True: bit for bit the same. */
  readonly same: boolean;
  /** First input after which the two differ; null if only the end was compared, or nothing differs. */
  readonly partsAt: { readonly revision: number; readonly event: string; readonly expected: unknown; readonly replayed: unknown } | null;
  readonly state: unknown;
  readonly steps?: readonly ReplayedStep[];
}

export function replayCommand(program: Command, deps: CliDeps): void {
  common(program.command("replay").description("run an actor's history again offline and compare; exit 1 if it differs"))
    .argument("<kind>", "kind of the actor")
    .argument("<id>", "id of the actor")
    .option("--machine <file>", "a module that exports a changed machine or kind: shows where it parts from the present one")
    .option("--steps", "print every step")
    .action(async (kind: string, id: string, options: ReplayOptions, command: Command) => {
      const context = new CommandContext(deps, command);
      const changed = options.machine === undefined ? undefined : await loadKind(resolve(deps.cwd, options.machine), kind);
      const present = await systemKind(kind, changed);
      const { view, entries } = await context.withClient((client) => readLife(client, deps, kind, id));
      const report = compare({ kind, id, entries, view, present, changed, file: options.machine });
      const shown = options.steps === true ? report : { ...report, steps: undefined };
      context.output.print(shown, () => reportText(report, options.steps === true));
      if (!report.same) throw new CliError(EXIT.failed, partingText(report));
    });
}

/** The state and a history that reaches up to it. */
async function readLife(client: Client, { clock }: CliDeps, kind: string, id: string): Promise<{ view: ActorView; entries: HistoryEntry[] }> {
  const endMs = clock.monotonic() + CATCH_UP_MS;
  for (;;) {
    const view = await client.query(kind, id);
    const entries = await client.history(kind, id);
    const reached = entries.at(-1)?.revision ?? 0;
    if (reached >= view.revision) return { view, entries: entries.filter(({ revision }) => revision <= view.revision) };
    if (clock.monotonic() > endMs) {
      throw new CliError(EXIT.unreachable, `The history of ${kind}/${id} reaches input ${reached} of ${view.revision}: it is written behind the live state, try again, or its kind keeps no more`);
    }
    await sleep(clock, CATCH_UP_PAUSE_MS);
  }
}

/** The kind as this program has it. */
async function systemKind(kind: string, changed: ActorKind | undefined): Promise<ActorKind> {
  // Loaded here, so that short commands do not pay for it.
  const { allKinds } = await import("../kinds.ts");
  const known = allKinds({ runSkill: () => Promise.reject(new Error("A replay runs no skill")) });
  const found = known.find((candidate) => candidate.kind === kind) ?? changed;
  if (found !== undefined) return found;
  const names = known.map((candidate) => candidate.kind).join(", ");
  throw new CliError(EXIT.notFound, `The kind "${kind}" is not one of the system's (${names}): give its module with --machine`);
}

/** A kind, or a machine that becomes one, from a user's module. */
async function loadKind(file: string, kind: string): Promise<ActorKind> {
  let module: unknown;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (cause) {
    throw new CliError(EXIT.usage, `The module "${file}" cannot be loaded: ${messageOf(cause)}`, { cause });
  }
  const exported = Object.values(module as Record<string, unknown>);
  const found = exported.find((value): value is ActorKind => isObject(value) && value["kind"] === kind && isMachine(value["machine"]));
  const machine = exported.find(isMachine);
  if (found !== undefined) return found;
  if (machine !== undefined) return defineActor({ kind, machine });
  throw new CliError(EXIT.usage, `The module "${file}" exports neither a kind "${kind}" nor a machine: export one of them`);
}

const isMachine = (value: unknown): value is AnyStateMachine =>
  typeof value === "object" && value !== null && "getInitialSnapshot" in value && "transition" in value && "root" in value;

interface Comparison {
  readonly kind: string;
  readonly id: string;
  readonly entries: readonly HistoryEntry[];
  readonly view: ActorView;
  readonly present: ActorKind;
  readonly changed: ActorKind | undefined;
  readonly file: string | undefined;
}

function compare({ kind, id, entries, view, present, changed, file }: Comparison): ReplayReport {
  const address = { kind, id };
  const now = replayWith(present, address, entries);
  const base = { kind, id, inputs: entries.length };
  if (changed === undefined || changed === present) {
    const same = comparable(now.state) === comparable(view);
    const partsAt = same ? null : { revision: view.revision, event: entries.at(-1)?.event.type ?? "", expected: view, replayed: now.state };
    return { ...base, machine: file ?? "present", same, partsAt, state: now.state, steps: now.steps };
  }
  const then = replayWith(changed, address, entries);
  const at = now.steps.findIndex((step, i) => comparable(step) !== comparable(then.steps[i]));
  const [expected, replayed] = [now.steps[at], then.steps[at]];
  const partsAt = expected === undefined ? null : { revision: expected.revision, event: expected.event, expected, replayed };
  return { ...base, machine: file ?? "changed", same: partsAt === null, partsAt, state: then.state, steps: then.steps };
}

function partingText({ kind, id, machine, partsAt }: ReplayReport): string {
  const where = partsAt === null ? "at its end" : `after input ${partsAt.revision} (${partsAt.event})`;
  return `${kind}/${id} replayed with the ${machine === "present" ? "present machine" : `machine of ${machine}`} parts ${where}: see both states above`;
}

function reportText(report: ReplayReport, withSteps: boolean): string {
  const steps = withSteps
    ? table(
        ["REVISION", "EVENT", "STATE"],
        (report.steps ?? []).map((step) => [step.revision, step.event, stateText(step.value)]),
      )
    : "";
  if (report.same) return `${steps}${report.kind}/${report.id}: ${report.inputs} inputs replayed, the same`;
  const { partsAt } = report;
  return `${steps}expected\n${pretty(partsAt?.expected ?? null)}\nreplayed\n${pretty(partsAt?.replayed ?? null)}`;
}
