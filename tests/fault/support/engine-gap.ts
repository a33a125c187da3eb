/** What the loss of a NATS server costs without us. Invariant: it asks for no more than that one append is stored. */
import type { Client } from "../../../runtime/api.ts";
import { TroupeError } from "../../../runtime/errors.ts";
import { encodeSeal } from "../../../runtime/round.ts";
import { until } from "./wait.ts";

/** Patience with one bare append, in ms. */
const APPEND_MS = 250;

/** Resolves when the journals' stream has a leader that stores; `probe` keeps one look apart from others. */
export async function untilStored({ broker, names }: Client, probe: string, deadlineMs: number): Promise<void> {
  await until("an append to be stored", deadlineMs, async () => {
    try {
      return await broker.append(names.journal("probe", probe), encodeSeal("test"), { timeoutMs: APPEND_MS });
    } catch (error) {
      if (error instanceof TroupeError && error.retryable) return undefined;
      throw error;
    }
  });
}
