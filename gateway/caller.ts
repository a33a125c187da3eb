/** Whether the caller still waits. Invariant: a request whose body was merely read to its end is not one whose caller left. */
import type { FastifyReply } from "fastify";
import { AbortedError } from "../runtime/errors.ts";

/**
 * Aborts when the connection ends before the answer. Fastify's own `request.signal` follows the request stream, which
 * closes as soon as a body has been read.
 */
export function untilCallerLeaves(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) controller.abort(new AbortedError("The caller closed the connection"));
  });
  return controller.signal;
}
