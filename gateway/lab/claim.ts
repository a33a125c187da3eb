/**
 * The right to drive the devices of one host. Invariant: of any two processes that claim a host while both can reach the
 * server at most one gets it; it ends with its process's connection, so a killed one keeps nobody out.
 */
import type { Names } from "../../nats-config/subjects.ts";
import type { Clock } from "../../runtime/clock.ts";
import { BrokerUnavailableError, TroupeError } from "../../runtime/errors.ts";
import type { Broker, Subscription } from "../../runtime/port.ts";

/** How long the present driver may take to answer, in ms: a round trip many times over, and short beside a start. */
const ANSWER_MS = 500;
const ID_BYTES = 8;

/** Somebody drives the host's devices already. */
export class HostTakenError extends TroupeError {
  override readonly name = "HostTakenError";
  readonly code = "HOST_TAKEN";
  readonly retryable = false;
  constructor(host: string, driver: string) {
    super(
      `The devices of "${host}" are driven by the process ${driver} already: stop that one first, two drivers would not know of each other's tokens`,
    );
  }
}

export interface ClaimDeps {
  readonly broker: Broker;
  readonly names: Names;
  readonly clock: Pick<Clock, "randomId">;
}

/**
 * Claims a host; hold it by keeping the subscription.
 * @throws {HostTakenError} Another process drives it, or claimed it at the same moment and comes first.
 * @throws {BrokerUnavailableError} The server cannot be asked.
 */
export async function claimHost({ broker, names, clock }: ClaimDeps, host: string): Promise<Subscription> {
  const own = `${clock.randomId(ID_BYTES)} (pid ${process.pid})`;
  const subject = names.hostDriver(host);
  let isMine = false;
  let first: string | null = null;
  // It listens before it asks: of two that ask, the one whose question the other hears. The one with the smaller id answers, or is
  // given way to: a question that came before the other listened would else be answered by nobody.
  const listening = broker.subscribe(subject, ({ data, reply }) => {
    const other = Buffer.from(data).toString("utf8");
    if (other === own || reply === undefined) return;
    if (isMine || own < other) broker.publish(reply, Buffer.from(own));
    else first = other;
  });
  try {
    await broker.flush();
    const driver = (await presentDriver(broker, subject, own)) ?? first;
    if (driver !== null) throw new HostTakenError(host, driver);
  } catch (error) {
    listening.unsubscribe();
    throw error;
  }
  isMine = true;
  return listening;
}

/** Who answers, or null. Our own subscription hears the question too and is silent. */
async function presentDriver(broker: Broker, subject: string, own: string): Promise<string | null> {
  try {
    return Buffer.from(await broker.request(subject, Buffer.from(own), ANSWER_MS)).toString("utf8");
  } catch (error) {
    if (error instanceof BrokerUnavailableError && broker.status === "connected") return null; // nobody answered in time
    throw error;
  }
}
