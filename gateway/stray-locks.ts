/**
 * Locks of devices that nobody ever heard of. Invariant: only lists leave them out, and only while they are free: the actor of
 * a lock stays for good once it has granted, because a token must not be issued twice.
 */
import { placeOf } from "../actors/messages/event.ts";
import type { ActorView, Client } from "../runtime/api.ts";
import { LIST_LIMIT } from "../runtime/limits.ts";
import { list, part, stateName } from "./fields.ts";

/** Tells a stray lock by the devices that have an actor: each that ever sent a heartbeat or an event, or was named in one. */
export async function strayLocks(client: Client): Promise<(view: ActorView) => boolean> {
  const known = new Set((await client.list("device")).map(({ id }) => id));
  // A listing that is cut does not tell who is unknown.
  if (known.size >= LIST_LIMIT) return () => false;
  return ({ id, value, context }) =>
    stateName(value) === "free" && list(part(context)["queue"]).length === 0 && placeOf(id) !== null && !known.has(id);
}
