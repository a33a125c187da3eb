/**
 * Leaving memory. Invariant: an actor leaves only when a snapshot covers all of it and nothing is under way; if it has timers,
 * one wake-up for the earliest is scheduled in NATS first, so that they fire though every node is down meanwhile.
 */
import type { Activation } from "./activation.ts";
import type { Engine } from "./engine.ts";
import { TroupeError } from "./errors.ts";
import { nextDueMs } from "./timers.ts";

/** A timer nearer than this keeps its actor in memory, in ms: leaving and returning would cost more. */
export const STAY_FOR_TIMER_MS = 10_000;
/**
 * An actor with timers whose time is ahead by more than this stays too, in ms: when it is loaded again its time goes on where it
 * stood, so its timers would be late by as long as it was away, up to this.
 */
const STAY_AHEAD_MS = 1_000;
/** Actors that leave in one sweep at most: bounds the pause of the event loop. */
const LEAVE_AT_ONCE = 10_000;

const EMPTY = new Uint8Array(1);

export function passivateIdle(engine: Engine): void {
  const { clock } = engine.options;
  const now = clock.monotonic();
  let left = 0;
  for (const activation of engine.activations.values()) {
    if (left >= LEAVE_AT_ONCE) return;
    if (now - activation.lastUsedMs < activation.kind.passivateAfterMs || activation.isFrozen) continue;
    if (!engine.saver.isEvictable(activation)) continue;
    const due = nextDueMs(activation);
    if (due !== undefined && (due - clock.now() < STAY_FOR_TIMER_MS || activation.aheadMs > STAY_AHEAD_MS)) continue;
    left++;
    if (due === undefined) leave(engine, activation);
    else void leaveWithTimer(engine, activation, due);
  }
}

async function leaveWithTimer(engine: Engine, activation: Activation, dueAtMs: number): Promise<void> {
  const { broker, names, log } = engine.options;
  const { kind, id } = activation.address;
  const usedAt = activation.lastUsedMs;
  try {
    await broker.append(names.timer(activation.shard, kind, id), EMPTY, {
      schedule: { atMs: dueAtMs, target: names.wake(activation.shard, kind, id) },
    });
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error;
    log.warn({ err: error, actor: activation.key }, "Wake-up not scheduled: the actor stays in memory");
    return;
  }
  // A message may have come meanwhile: then it stays, and the wake-up will find nothing to do.
  if (activation.lastUsedMs === usedAt && !activation.isFrozen && engine.saver.isEvictable(activation))
    engine.drop(activation);
}

function leave(engine: Engine, activation: Activation): void {
  const { broker, names, log } = engine.options;
  engine.drop(activation);
  if (activation.wakeSeq === 0) return;
  broker.remove(names.stream.wake, activation.wakeSeq).catch((error: unknown) => {
    log.warn({ err: error, actor: activation.key }, "Wake-up not removed: it will come again and find nothing to do");
  });
}
