/** How a command that runs on is told to end. Invariant: the first request is orderly; a second one does not wait. */

export interface Stops {
  /** Resolves at the first request with what it was. */
  readonly requested: Promise<string>;
  /** Calls `listener` at the second request. */
  onSecond(listener: () => void): void;
  /** Counts the end of stdin as a request too: a child must not outlive the parent that holds the other end. */
  watchStdin(): void;
  /** Listens no longer, so that the process can end. */
  release(): void;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Listens to the signals of this process from the first use on. */
export function processStops(): Stops {
  const first = Promise.withResolvers<string>();
  const listeners: (() => void)[] = [];
  let asked = false;
  let listening = false;
  let watching = false;
  const request = (what: string): void => {
    if (!asked) {
      asked = true;
      first.resolve(what);
    } else if (what !== "stdin") {
      for (const listener of listeners) listener();
    }
  };
  const listen = (): void => {
    if (listening) return;
    listening = true;
    // Short commands never come here, so Ctrl-C ends them at once as usual.
    for (const signal of SIGNALS) process.on(signal, () => request(signal));
  };
  return {
    get requested() {
      listen();
      return first.promise;
    },
    onSecond: (listener) => void listeners.push(listener),
    watchStdin: () => {
      process.stdin.once("end", () => request("stdin")).once("error", () => request("stdin"));
      process.stdin.resume();
      watching = true;
    },
    release: () => {
      if (watching) process.stdin.destroy();
    },
  };
}
