/** Requests of one simulated node that wait for another's answer, by reply address. Invariant: each is answered or refused once. */
import { BrokerUnavailableError } from "./errors.ts";

interface Asked {
  readonly subject: string;
  answer(data: Uint8Array): void;
  refuse(error: Error): void;
}

export class MemoryRequests extends Map<string, Asked> {
  #count = 0;

  nextAddress(inbox: string): string {
    this.#count += 1;
    return `${inbox}${this.#count}`;
  }

  giveUp(isGone: (subject: string) => boolean): void {
    for (const asked of [...this.values()])
      if (isGone(asked.subject))
        asked.refuse(new BrokerUnavailableError(`No answer from "${asked.subject}": its receiver is gone; ask again`));
  }
}

export const closedError = (what: string): Error =>
  new BrokerUnavailableError(`The connection is closed, so ${what} cannot be answered: connect anew`);
