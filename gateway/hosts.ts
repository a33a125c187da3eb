/**
 * Which Host headers are ours. Invariant: on a loopback address only loopback names pass, so that a web page whose name
 * was made to point at this machine (DNS rebinding) reaches nothing; no answer is ever built from the header.
 */
import { GatewayError } from "./errors.ts";

const LOOPBACK = /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/;

export const isLoopback = (host: string): boolean => LOOPBACK.test(host) || host === "::1";

/** The check for a server that listens on `host`; `extra` are further names it is reached by. */
export function hostCheck(host: string, extra: readonly string[]): (header: string | undefined) => void {
  if (!isLoopback(host)) return () => undefined;
  const names = new Set(extra.map((name) => name.toLowerCase()));
  return (header) => {
    const name = (header ?? "").replace(/:\d*$/, "").toLowerCase();
    if (isLoopback(name) || names.has(name)) return;
    throw new GatewayError(
      "MISDIRECTED",
      `The Host header ${JSON.stringify(name.slice(0, 80))} is not a name of this gateway: call it by a loopback address, or add the name to its host names`,
    );
  };
}
