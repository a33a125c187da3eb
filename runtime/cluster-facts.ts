/** What is fixed for a cluster's life. Invariant: written once, by whoever comes first; everybody else reads the same. */
import { DEFAULT_SHARDS, type Names } from "../nats-config/subjects.ts";
import { type Clock, sleep } from "./clock.ts";
import { BrokerUnavailableError, RevisionConflictError, TroupeError } from "./errors.ts";
import type { Broker } from "./port.ts";

export interface ClusterFacts {
  readonly shards: number;
}

const KEY = "cluster";
const RETRY_MS = 50;
/** Patience of a node that starts, in ms: a server that has just become the leader may not know yet that a stream was made. */
const START_PATIENCE_MS = 10_000;

/**
 * Reads the facts, writing the defaults if the cluster is new.
 * @throws {BrokerUnavailableError} They can be neither read nor written for {@link START_PATIENCE_MS}.
 */
export async function ensureClusterFacts(broker: Broker, names: Names, clock: Clock): Promise<ClusterFacts> {
  const endAt = clock.monotonic() + START_PATIENCE_MS;
  for (;;) {
    try {
      return await readOrWrite(broker, names);
    } catch (error) {
      if (!(error instanceof TroupeError && error.retryable) || clock.monotonic() >= endAt) throw error;
    }
    await sleep(clock, RETRY_MS);
  }
}

async function readOrWrite(broker: Broker, names: Names): Promise<ClusterFacts> {
  const known = await readClusterFacts(broker, names);
  if (known !== null) return known;
  try {
    await broker.append(names.kv.meta.key(KEY), Buffer.from(JSON.stringify({ shards: DEFAULT_SHARDS })), {
      expectedLastSubjectSeq: 0,
    });
  } catch (error) {
    if (!(error instanceof RevisionConflictError)) throw error; // another node was first
  }
  return (await readClusterFacts(broker, names)) ?? { shards: DEFAULT_SHARDS };
}

/** Waits until a first node has written the facts. @throws {BrokerUnavailableError} None did within `waitMs`. */
export async function awaitClusterFacts(
  broker: Broker,
  names: Names,
  clock: Clock,
  waitMs: number,
): Promise<ClusterFacts> {
  const endAt = clock.monotonic() + waitMs;
  for (;;) {
    try {
      const facts = await readClusterFacts(broker, names);
      if (facts !== null) return facts;
    } catch (error) {
      if (!(error instanceof TroupeError && error.retryable)) throw error;
    }
    if (clock.monotonic() >= endAt)
      throw new BrokerUnavailableError(
        `No cluster "${names.namespace}" is known here: start a node, or check the namespace`,
      );
    await sleep(clock, RETRY_MS);
  }
}

async function readClusterFacts(broker: Broker, names: Names): Promise<ClusterFacts | null> {
  const message = await broker.getLast(names.kv.meta.stream, names.kv.meta.key(KEY));
  return message === null ? null : (JSON.parse(Buffer.from(message.data).toString()) as ClusterFacts);
}
