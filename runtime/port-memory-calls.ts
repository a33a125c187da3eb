/**
 * Questions of one simulated node to the in-memory server that await an answer. Invariant: each settles once: with its
 * answer, its refusal, its time-out or the end of the connection; none settles after the process was killed.
 */
import type { Clock } from "./clock.ts";
import { BrokerUnavailableError } from "./errors.ts";
import type { MemoryLink } from "./port-memory-link.ts";

type Answer<T> = (value: T) => void;
type Refuse = (error: Error) => void;

interface Call {
  readonly fail: Refuse;
  readonly forget: () => void;
}

export class MemoryCalls {
  readonly #clock: Clock;
  readonly #link: MemoryLink;
  readonly #open = new Set<Call>();

  constructor(clock: Clock, link: MemoryLink) {
    this.#clock = clock;
    this.#link = link;
  }

  /** Runs `start` and waits for one of its two callbacks, `timeoutMs` at most. */
  call<T>(what: string, timeoutMs: number, start: (answer: Answer<T>, refuse: Refuse) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const forget = () => {
        this.#clock.clearTimeout(timer);
        this.#open.delete(call);
      };
      const fail = (error: Error) => {
        if (!this.#open.has(call)) return;
        forget();
        reject(error);
      };
      const call: Call = { fail, forget };
      const expire = () =>
        fail(
          new BrokerUnavailableError(
            `No answer to ${what} within ${timeoutMs} ms: look up its outcome before you repeat it`,
          ),
        );
      const timer = this.#clock.setTimeout(expire, timeoutMs);
      this.#open.add(call);
      try {
        start((value) => {
          if (!this.#open.has(call)) return;
          forget();
          resolve(value);
        }, fail);
      } catch (error) {
        fail(error as Error);
      }
    });
  }

  /** To the server and back; either way may fail silently. */
  ask<T>(serve: () => T, answer: Answer<T>, refuse: Refuse): void {
    this.#link.toServer(() => {
      try {
        const value = serve();
        this.#link.toClient(() => answer(value));
      } catch (error) {
        this.#link.toClient(() => refuse(error as Error));
      }
    });
  }

  /** The connection was closed. */
  failAll(): void {
    for (const call of [...this.#open])
      call.fail(
        new BrokerUnavailableError(
          "The connection was closed before the answer came: connect anew and look up the outcome",
        ),
      );
  }

  /** The process was killed. */
  forgetAll(): void {
    for (const call of [...this.#open]) call.forget();
  }
}
