/**
 * A follower of an in-memory stream. Invariant: its listener sees each message once, in order, without a gap, across any
 * number of cut wires; it sees nothing after `stop()`.
 */
import type { FollowOptions, StoredMessage } from "./port.ts";
import type { MemoryLink } from "./port-memory-link.ts";
import type { MemoryStream } from "./port-memory-stream.ts";
import { type Matcher, matcherOfAny } from "./port-memory-subject.ts";

export class MemoryFollower {
  readonly #stream: MemoryStream;
  readonly #link: MemoryLink;
  readonly #options: FollowOptions;
  readonly #matches: Matcher;
  readonly #onMessage: (message: StoredMessage) => void;
  #unwatch: (() => void) | undefined;
  #started = false;
  #stopped = false;
  /** Under `last`: what stood when it began, by sequence, and how far it came. Then all that stands at or after `#cursor`. */
  #tips: readonly number[] = [];
  #tipAt = 0;
  #beginSeq = 1;
  #cursor = 1;
  #receivedSeq = 0;

  constructor(
    stream: MemoryStream,
    link: MemoryLink,
    options: FollowOptions,
    onMessage: (message: StoredMessage) => void,
  ) {
    this.#stream = stream;
    this.#link = link;
    this.#options = options;
    this.#matches = matcherOfAny(options.subjects);
    this.#onMessage = onMessage;
  }

  /** At the server: decides where to begin, and begins. */
  start(): void {
    if (this.#started || this.#stopped) return;
    this.#started = true;
    const { from, subjects } = this.#options;
    if (from !== "all") this.#beginSeq = this.#stream.lastSeq + 1;
    if (from === "last") {
      const tips = subjects.flatMap((subject) => this.#stream.lastPerSubject(subject, Number.POSITIVE_INFINITY));
      this.#tips = [...new Set(tips.map(({ seq }) => seq))].sort((a, b) => a - b);
    }
    this.resume();
  }

  /** The wire is cut: what is under way is lost. */
  pause(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  /** The wire is back: goes on after the last message that arrived. */
  resume(): void {
    if (!this.#started || this.#stopped) return;
    this.pause();
    this.#tipAt = this.#tips.filter((seq) => seq <= this.#receivedSeq).length;
    this.#cursor = Math.max(this.#beginSeq, this.#receivedSeq + 1);
    this.#unwatch = this.#stream.watch(() => this.#pump());
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    this.pause();
  }

  #pump(): void {
    for (;;) {
      const message = this.#take();
      if (message === undefined) return;
      this.#link.toClient(() => {
        if (this.#stopped) return;
        this.#receivedSeq = message.seq;
        this.#onMessage(message);
      });
    }
  }

  #take(): StoredMessage | undefined {
    while (this.#tipAt < this.#tips.length) {
      const tip = this.#stream.at(this.#tips[this.#tipAt] ?? 0);
      this.#tipAt += 1;
      if (tip !== undefined) return tip; // gone if it was replaced meanwhile; the newer one follows
    }
    const message = this.#stream.next(this.#matches, this.#cursor);
    this.#cursor = message === undefined ? this.#stream.lastSeq + 1 : message.seq + 1;
    return message;
  }
}
