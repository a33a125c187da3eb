/**
 * Time travel: an actor's history applied offline, step by step. Invariant: against the machine that made it, replay gives the
 * stored state bit for bit; against another machine it shows the first step where they part.
 */
import type { Names } from "../nats-config/subjects.ts";
import { type Address, keyOf } from "./address.ts";
import { type ActorState, encodeCore, newState } from "./actor-state.ts";
import { applyPoison, causeOf, replayInput } from "./apply.ts";
import { encode } from "./codec.ts";
import type { ActorKind } from "./define-actor.ts";
import { decodeInput, type EventLike } from "./envelope.ts";
import { HistoryGapError } from "./errors.ts";
import { shardIn } from "./families.ts";
import { statusOf } from "./hold.ts";
import { type HistoryInput, readHistory } from "./history.ts";
import type { Broker } from "./port.ts";
import { type RunnableKind, runnable } from "./runnable.ts";
import { decodeSnapshot } from "./snapshots.ts";

export interface ReplayStep {
  readonly revision: number;
  readonly timeMs: number;
  readonly event: EventLike;
  readonly value: unknown;
  readonly context: unknown;
  readonly status: string;
  /** What went wrong in this step, now or then. */
  readonly poison?: string;
}

export interface Replay {
  readonly steps: readonly ReplayStep[];
  /** The durable core as it would be stored: comparable bit for bit. */
  readonly core: Uint8Array;
}

/**
 * Replays a history from its first input.
 * @throws {HistoryGapError} It does not begin with revision 1.
 */
export function replayHistory(kind: ActorKind, address: Address, inputs: readonly HistoryInput[]): Replay {
  assertWhole(address, inputs);
  const run = runnable(kind);
  const state = newState();
  const steps = inputs.map((input) => replayStep(run, address, state, input));
  return { steps, core: encodeCore(state, kind.version, run.runner) };
}

export interface Divergence {
  readonly revision: number;
  readonly event: EventLike;
  readonly before: { readonly value: unknown; readonly context: unknown; readonly poison?: string };
  readonly after: { readonly value: unknown; readonly context: unknown; readonly poison?: string };
}

/** Replays against two machines; null if every step agrees in value, context and status. */
export function compareReplay(
  before: ActorKind,
  after: ActorKind,
  address: Address,
  inputs: readonly HistoryInput[],
): Divergence | null {
  const [old, changed] = [replayHistory(before, address, inputs), replayHistory(after, address, inputs)];
  for (const [index, step] of old.steps.entries()) {
    const other = changed.steps[index] as ReplayStep;
    if (fingerprint(step).equals(fingerprint(other))) continue;
    return { revision: step.revision, event: step.event, before: step, after: other };
  }
  return null;
}

/**
 * Replays an actor's history and compares it with what is stored.
 * @throws {HistoryGapError} The history does not reach back to the first input.
 */
export async function verifyReplay(
  broker: Broker,
  names: Names,
  shards: number,
  kind: ActorKind,
  id: string,
): Promise<Replay & { readonly isIdentical: boolean }> {
  const address = { kind: kind.kind, id };
  const stored = await broker.getLast(
    names.stream.snapshot,
    names.snapshot(shardIn(kind.kind, id, kind.placement, shards), kind.kind, id),
  );
  if (stored === null || stored.data.length === 0)
    throw new HistoryGapError(`Nothing is stored of "${keyOf(kind.kind, id)}": check the id`);
  const { core, covers } = decodeSnapshot(stored.data);
  const inputs = (await readHistory(broker, names, kind.kind, id)).filter((input) => input.seq <= covers);
  const replay = replayHistory(kind, address, inputs);
  return { ...replay, isIdentical: Buffer.compare(replay.core, core) === 0 };
}

const fingerprint = (step: ReplayStep): Buffer => encode([step.value, step.context, step.status, step.poison ?? null]);

function assertWhole(address: Address, inputs: readonly HistoryInput[]): void {
  const first = inputs[0]?.revision;
  if (first === 1) return;
  throw new HistoryGapError(
    first === undefined
      ? `The history of "${keyOf(address.kind, address.id)}" is empty: the kind keeps none, or it has timed out`
      : `The history of "${keyOf(address.kind, address.id)}" begins with revision ${first}: the earlier inputs have timed out`,
  );
}

function replayStep(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  { body, timeMs, poison: recorded, revision }: HistoryInput,
): ReplayStep {
  const input = decodeInput(body);
  let poison = recorded;
  if (poison === null) {
    try {
      replayInput(kind, address, state, input, timeMs);
    } catch (error) {
      poison = causeOf(error);
    }
  }
  if (poison !== null) applyPoison(kind, address, state, input, timeMs, poison);
  state.outbox.clear(); // offline nothing is sent; the core does not hold it
  const { snapshot } = state;
  return {
    revision,
    timeMs,
    event: input.event,
    value: snapshot?.value ?? null,
    context: (snapshot?.context as unknown) ?? null,
    status: statusOf(state),
    ...(poison !== null && { poison }),
  };
}
