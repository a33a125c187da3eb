/** The check that tests run on every transition: twice the same input on the same state must give the same bytes. */
import type { Address } from "./address.ts";
import { type ActorState, decodeState, encodeCore, encodeOutbox } from "./actor-state.ts";
import { applyInput } from "./apply.ts";
import { effectsFingerprint } from "./effects.ts";
import type { Input } from "./envelope.ts";
import { DeterminismError } from "./errors.ts";
import type { RunnableKind } from "./runnable.ts";

/**
 * @throws {DeterminismError} The machine reads time, chance or the outside.
 * @throws Whatever the transition itself throws.
 */
export function assertDeterministic(
  kind: RunnableKind,
  address: Address,
  state: ActorState,
  input: Input,
  timeMs: number,
): void {
  const [first, second] = [run(), run()];
  if (first.compare(second) === 0) return;
  throw new DeterminismError(
    `Kind "${kind.kind}" took "${input.event.type}" twice with two results: read time with now(), ids with uniqueId(), chance with random()`,
  );

  function run(): Buffer {
    const copy = decodeState(encodeCore(state, kind.version, kind.runner), encodeOutbox(state), kind, kind.runner);
    const { answer, effects } = applyInput(kind, address, copy, input, timeMs);
    return Buffer.concat([
      encodeCore(copy, kind.version, kind.runner),
      effectsFingerprint(effects),
      answer ?? Buffer.alloc(0),
    ]);
  }
}
