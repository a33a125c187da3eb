/** A live view of one actor. Invariant: revisions only grow, the latest state always arrives, whoever serves the actor. */
import type { ActorView } from "./api.ts";
import { type Clock, sleep } from "./clock.ts";
import { encode } from "./codec.ts";
import { decodeAnswer } from "./envelope.ts";
import { AbortedError, ActorNotFoundError, TroupeError } from "./errors.ts";
import { WATCH_TTL_MS } from "./limits.ts";
import type { Broker } from "./port.ts";

export interface WatchOptions {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly query: (body: Uint8Array) => Promise<ActorView>;
}

export async function* watchActor(options: WatchOptions): AsyncGenerator<ActorView> {
  // Ends with the caller's signal, and when the reader leaves the loop.
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const { broker, clock } = options;
  const inbox = `_INBOX.watch.${clock.randomId(12)}`;
  let latest: ActorView | undefined;
  let wake: () => void = () => undefined;
  const offer = (view: ActorView) => {
    if (latest !== undefined && latest.revision >= view.revision) return;
    latest = view; // one slot: a slow reader sees the newest state
    wake();
  };
  const subscription = broker.subscribe(inbox, (message) => offer(decodeAnswer(message.data) as ActorView));
  let failure: { readonly error: unknown } | undefined;
  const renewing = renew({ ...options, signal }, encode({ watch: inbox }), offer).catch((error: unknown) => {
    failure = { error };
    wake();
  });
  signal.addEventListener("abort", () => wake(), { once: true });
  let yielded = -1;
  try {
    while (!signal.aborted) {
      if (failure !== undefined) throw failure.error;
      if (latest !== undefined && latest.revision > yielded) {
        yielded = latest.revision;
        yield latest;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    ended.abort();
    subscription.unsubscribe();
    await renewing;
  }
}

/** Registers with whoever owns the actor now, and asks for what was missed in between. */
async function renew(
  { clock, signal, query }: WatchOptions,
  body: Uint8Array,
  offer: (view: ActorView) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      offer(await query(body));
    } catch (error) {
      const isExpected =
        error instanceof ActorNotFoundError ||
        error instanceof AbortedError ||
        (error instanceof TroupeError && error.retryable);
      if (!isExpected) throw error;
    }
    await sleep(clock, WATCH_TTL_MS / 3, signal).catch(() => undefined);
  }
}
