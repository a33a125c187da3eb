/**
 * Bringing actors to rest whose shard is leaving. Invariant: whatever waited is committed or answered "busy", and however busy
 * an actor is with itself, it is at rest soon after its grace.
 */
import type { Activation } from "./activation.ts";
import type { Engine } from "./engine.ts";
import { SealedError } from "./errors.ts";

/** Pause between looks at the actors, in ms: about one commit. */
const POLL_MS = 1;
/** Time for actors to finish what they do by themselves, in ms: meanwhile nobody serves their shards. */
const GRACE_MS = 100;

/**
 * Serves what waits for the picked actors until all of it is committed, then freezes them. Those that never rest are frozen when
 * their grace is over: timers and results of their own are dropped then, and recur at the next owner.
 * @throws What ended the journal. @throws {SealedError} The incarnation ended meanwhile: what it had not committed is void.
 */
export async function settleActors(engine: Engine, picks: (activation: Activation) => boolean): Promise<void> {
  const { clock } = engine.options;
  const graceEndsAt = clock.monotonic() + GRACE_MS;
  const isOpen = (a: Activation) => picks(a) && (a.phase === "loading" || a.mailbox.size > 0 || !a.isCommitted);
  const freeze = () => {
    for (const activation of engine.activations.values()) if (picks(activation)) activation.isFrozen = true;
  };
  while ([...engine.activations.values()].some(isOpen)) {
    engine.committer.assertSound();
    if (clock.monotonic() >= graceEndsAt) freeze();
    engine.scheduler.serve();
    await new Promise<void>((resolve) => clock.setTimeout(resolve, POLL_MS));
  }
  // Its actors have left memory uncommitted: who took this for rest would store them.
  if (engine.options.closed.aborted)
    throw new SealedError("The incarnation ended: its shards are left to the next owner");
  freeze();
}
