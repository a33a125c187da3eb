/** What the loss of a NATS server costs without us. Invariant: it asks for no more than leaders that answer and one append that is stored. */
import type { Client } from "../../../runtime/api.ts";
import { TroupeError } from "../../../runtime/errors.ts";
import { encodeSeal } from "../../../runtime/round.ts";
import { until } from "./wait.ts";

/** Patience with one bare append, in ms. */
const APPEND_MS = 250;

/**
 * Resolves when each stream that a takeover needs has a leader, and the journals' one stores. `probe` keeps one look apart from
 * others.
 */
export async function untilEngineServes({ broker, names }: Client, probe: string, deadlineMs: number): Promise<void> {
  const { stream, kv } = names;
  const subject = names.journal("probe", probe);
  const stored = () => broker.append(subject, encodeSeal("test"), { timeoutMs: APPEND_MS });
  const led = [stream.snapshot, kv.nodes.stream, kv.shards.stream].map((each) => () => broker.subjects(each, subject));
  const look = async (ask: () => Promise<unknown>) => {
    try {
      await ask();
      return true;
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) return false;
      throw error;
    }
  };
  await Promise.all([stored, ...led].map((ask) => until("the streams to be served", deadlineMs, () => look(ask))));
}
