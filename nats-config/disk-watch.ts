/**
 * What to do about a disk that was full. The server freezes each stream whose write failed and takes nothing into it, also when
 * there is room again, until it is started anew. Invariant: it is ended for that only when there is room, so that it starts again.
 */
import { statfs } from "node:fs/promises";
import { pause } from "./wait.ts";

/** Free space that counts as room, in bytes: the server's own files at a start, and a few of its largest messages. */
export const ROOM_BYTES = 16 * 1024 ** 2;
/** Between two looks at the free space, in ms. */
const LOOK_EVERY_MS = 500;
/** How the server logs that it froze a stream, since 2.14. */
const FROZEN = /JetStream stream .* critical write error/;

export interface DiskWatchOptions {
  readonly dataDir: string;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  /** There is room, and a stream is frozen: ends the server. */
  readonly onRoom: () => Promise<void>;
}

export class DiskWatch {
  readonly #options: DiskWatchOptions;
  #isWaiting = false;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** Looks at a line of the server's log. */
  look(line: string): void {
    if (this.#isWaiting || !FROZEN.test(line)) return;
    this.#isWaiting = true;
    this.#options.log("The disk of nats-server is full: its streams take nothing until there is room");
    void this.#awaitRoom().finally(() => {
      this.#isWaiting = false;
    });
  }

  async #awaitRoom(): Promise<void> {
    const { dataDir, signal, log, onRoom } = this.#options;
    while (!signal.aborted) {
      const { bavail, bsize } = await statfs(dataDir);
      if (bavail * bsize >= ROOM_BYTES) {
        log("There is room on the disk again: starting nats-server anew, as it froze its streams");
        await onRoom();
        return;
      }
      // Rejects only because the server is to stop, which ends the loop.
      await pause(LOOK_EVERY_MS, signal).catch(() => {});
    }
  }
}
