/** A part's log on disk. Invariant: two files of {@link LOG_MAX_BYTES} at most, the newest lines always kept. */
import { appendFileSync, existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DataDirError } from "../../nats-config/errors.ts";

/** Size at which a log begins anew, in bytes: days of a quiet node, an afternoon of a busy one. */
export const LOG_MAX_BYTES = 8 * 1_024 * 1_024;

export class LogFile {
  readonly path: string;
  #bytes: number;

  /** @throws {DataDirError} It cannot be written. */
  constructor(path: string) {
    this.path = path;
    try {
      makeDirectories(dirname(path));
      appendFileSync(path, "");
    } catch (cause) {
      throw new DataDirError(dirname(path), cause);
    }
    this.#bytes = statSync(path).size;
  }

  write(chunk: Uint8Array | string): void {
    if (this.#bytes > LOG_MAX_BYTES) {
      renameSync(this.path, `${this.path}.1`);
      this.#bytes = 0;
    }
    appendFileSync(this.path, chunk);
    this.#bytes += chunk.length;
  }
}

/** Node's own recursive mkdir never returns where a parent is there and yet takes no children, as under /proc. */
function makeDirectories(path: string): void {
  if (existsSync(path)) return;
  if (!existsSync(dirname(path))) makeDirectories(dirname(path));
  mkdirSync(path);
}
