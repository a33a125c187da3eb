/** Loopback TCP ports. Invariant: a chosen port lies outside the range that the system hands to outgoing connections. */
import { createServer } from "node:net";
import { randomBetween } from "./wait.ts";

export const LOOPBACK = "127.0.0.1";
/**
 * Where free ports are looked for. Linux gives 32768 and up to outgoing connections, other systems 49152 and up: a server
 * that restarts there may find its port taken, or its own reconnecting client connected to itself.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
/** Tries until a free one is found. With a thousand taken ports, 64 misses in a row do not happen. */
const MAX_TRIES = 64;

/** Whether nobody listens on the loopback port just now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE" || error.code === "EACCES") resolve(false);
      else reject(error);
    });
    probe.listen(port, LOOPBACK, () => probe.close(() => resolve(true)));
  });
}

/** A port on which nobody listens just now. Another program may still be faster: try the next one then. */
export async function findFreePort(): Promise<number> {
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const port = randomBetween(FIRST_PORT, LAST_PORT);
    if (await isPortFree(port)) return port;
  }
  throw new RangeError(`No free port among ${MAX_TRIES} tried between ${FIRST_PORT} and ${LAST_PORT}: name one`);
}
