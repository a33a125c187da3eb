/**
 * A command whose grandchild writes to a file as long as it lives. Invariant: each line is a time in ms since 1970, one about every
 * 50 ms, so that who still writes is seen.
 */
import { existsSync, readFileSync } from "node:fs";

/** A shell that spawns a shell that writes; `deaf`: SIGTERM does not end it. */
export const scribe = (file: string, { deaf = false } = {}): readonly [string, ...string[]] => {
  const loop = 'while :; do date +%s%3N >> "$0"; sleep 0.05; done';
  const spawned = deaf ? `trap "" TERM; ${loop}` : loop;
  return ["/bin/sh", "-c", `${deaf ? 'trap "" TERM; ' : ""}/bin/sh -c '${spawned}' "$0" & wait`, file];
};

/** The times of its writes. */
export const written = (file: string): number[] =>
  existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map(Number)
    : [];
