/**
 * Which resources there are. Invariant: at the doors for people nothing is locked that nobody ever heard of: a name that was typed
 * wrong would be granted at once, and keep nobody out.
 */
import type { CallOptions, Client } from "../runtime/api.ts";
import { ActorNotFoundError } from "../runtime/errors.ts";
import { GatewayError } from "./errors.ts";
import { readActor } from "./reads.ts";

/**
 * A resource is known by its lock, once somebody has used or configured it, or by its device, which may be gone with its host.
 * @throws {GatewayError} UNKNOWN_RESOURCE: nobody ever heard of it, and `event` does not create it.
 */
export async function checkKnown(
  client: Pick<Client, "query">,
  id: string,
  event: { readonly type: string },
  options: CallOptions = {},
): Promise<void> {
  const isThere = async (kind: string): Promise<boolean> => {
    try {
      await readActor(client, kind, id, options);
      return true;
    } catch (error) {
      if (error instanceof ActorNotFoundError) return false;
      throw error;
    }
  };
  if (event.type === "configure" || (await isThere("resource")) || (await isThere("device"))) return;
  throw new GatewayError(
    "UNKNOWN_RESOURCE",
    `Nobody ever heard of the resource "${id}": check its name, or create it with the command configure`,
  );
}
