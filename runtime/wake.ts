/**
 * Bringing actors back that have something to do. Invariant: an actor that a checkpoint names is woken, or tried again until it
 * is; it stays named meanwhile.
 */
import { addressOf } from "./address.ts";
import type { Engine } from "./engine.ts";
import { TroupeError } from "./errors.ts";

/** Activates what should be awake and is not: after a takeover, and again when loading failed. */
export function wakeNamed(engine: Engine): void {
  const { shardOf, log } = engine.options;
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
}
