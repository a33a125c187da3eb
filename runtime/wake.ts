/**
 * Bringing actors back that have something to do. Invariant: an actor that a checkpoint names is woken, or tried again until it
 * is; it stays named meanwhile. A singleton is awake where its shard is owned.
 */
import { addressOf, keyOf } from "./address.ts";
import { SINGLETON_ID } from "./define-actor.ts";
import type { Engine } from "./engine.ts";
import { encodeInput, Tag } from "./envelope.ts";
import { TroupeError } from "./errors.ts";

/** Sent to a singleton as often as it is not in memory; taken once. */
const START = encodeInput({
  tag: Tag.Control,
  sender: "cluster",
  seq: 1,
  low: 1,
  ttlMs: 0,
  lane: 0,
  event: { type: "control.start" },
});

/** Activates what should be awake and is not: after a takeover, and again when loading failed. */
export function wakeNamed(engine: Engine): void {
  const { shardOf, log, kinds } = engine.options;
  for (const key of engine.unwoken) {
    const { kind, id } = addressOf(key);
    if (engine.activations.has(key) || !engine.owned.has(shardOf(kind, id))) continue;
    try {
      engine.activate(kind, id);
    } catch (error) {
      if (!(error instanceof TroupeError)) throw error;
      log.warn({ err: error, actor: key }, "Actor cannot be woken: tried again, and named in the checkpoint meanwhile");
    }
  }
  for (const { kind, isSingleton } of kinds.values()) {
    if (!isSingleton || engine.activations.has(keyOf(kind, SINGLETON_ID))) continue;
    if (engine.owned.has(shardOf(kind, SINGLETON_ID))) engine.receive(kind, SINGLETON_ID, START, () => undefined, true);
  }
}
