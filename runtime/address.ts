/** Who a message is for. Invariant: a valid kind and id stand in a subject as one token each, so no caller can widen a filter. */
import { AddressError } from "./errors.ts";

export interface Address {
  readonly kind: string;
  readonly id: string;
}

/** Longest kind, in characters: it stands in every subject and journal record. */
export const MAX_KIND_LENGTH = 32;
/** Longest id, in characters: host, device and a run number fit with room; subjects stay well under the server's limit. */
export const MAX_ID_LENGTH = 128;

const KIND = /^[a-z][a-z0-9-]*$/;
const ID = /^[A-Za-z0-9_:@=+~-]+$/;

/**
 * Checks both parts of an address.
 * @throws {AddressError} Names the part, the value (shortened) and the characters that are allowed.
 */
export function checkAddress(kind: unknown, id: unknown): asserts kind is string {
  if (typeof kind !== "string" || kind.length > MAX_KIND_LENGTH || !KIND.test(kind)) {
    throw new AddressError(
      `The kind ${shorten(kind)} is not valid: use 1 to ${MAX_KIND_LENGTH} of a-z 0-9 -, a letter first`,
    );
  }
  if (typeof id !== "string" || id.length > MAX_ID_LENGTH || !ID.test(id)) {
    throw new AddressError(
      `The id ${shorten(id)} is not valid: use 1 to ${MAX_ID_LENGTH} of A-Z a-z 0-9 _ : @ = + ~ -`,
    );
  }
}

export const keyOf = (kind: string, id: string): string => `${kind}/${id}`;

/** Splits what {@link keyOf} joined. Kinds hold no slash. */
export function addressOf(key: string): Address {
  const slash = key.indexOf("/");
  return { kind: key.slice(0, slash), id: key.slice(slash + 1) };
}

/** 32-bit FNV-1a (Fowler, Noll, Vo) over the UTF-16 code units; ids are ASCII. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** The shard that an actor belongs to, for the life of the cluster. */
export const shardOf = (kind: string, id: string, shards: number): number => fnv1a(keyOf(kind, id)) % shards;

function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
